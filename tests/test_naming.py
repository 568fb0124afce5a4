"""File names by pattern: every key of a recipe and every label may stand in them, and nothing else."""

from typing import Any

import pytest

from dispatcher.views.naming import DEFAULT_PATTERN, file_name
from storage.errors import InvalidSpec
from storage.spec.fields import FIELDS
from storage.spec.number import number_of
from storage.sql.images import ImageRow
from storage.states import ImageState


def row(**changes: Any) -> ImageRow:
    plain: dict[str, Any] = {
        **dict.fromkeys(ImageRow.__slots__), "job": "j", "number": 7, "state": ImageState.DONE, "prompt": "a fox/hare",
        "seed": 3, "scheduler": "ddim", "steps": 20, "guidance_scale": 7.5, "width": 64, "height": 64,
        "labels": {"mood": "sleepy"}, "options": {"strength": 0.5, "loras": "ink:0.8", "watermark": True},
        "model": "./m", "worker": "n1", "sha256": "ab",
    }  # fmt: skip
    return ImageRow(**{**plain, **changes})


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        pytest.param("{number:06}_{scheduler}_{seed}.png", "000007_ddim_3.png", id="default"),
        pytest.param("{strength}-{strength:.2f}.png", "0.5-0.50.png", id="number"),
        pytest.param("{loras}/{mood}/{prompt}.png", "ink-0.8/sleepy/a-fox-hare.png", id="folders"),
        pytest.param("{watermark}.png", "True.png", id="switch"),
        pytest.param("{vae}-{eta}.png", "none-none.png", id="keys that the job does not set"),
    ],
)
def test_a_pattern_is_filled_from_recipe_and_labels(pattern: str, name: str) -> None:
    assert file_name(pattern, row()) == name


@pytest.mark.parametrize(
    ("pattern", "suffix", "name"),
    [
        pytest.param(DEFAULT_PATTERN, "webp", "000007_ddim_3.webp", id="default"),
        pytest.param("{seed}.png", "jpg", "3.jpg", id="another format"),
        pytest.param("{seed}.jpeg", "jpg", "3.jpeg", id="another spelling"),
        pytest.param("{seed}.PNG", "png", "3.PNG", id="capitals"),
        pytest.param("{seed}", "png", "3.png", id="none"),
        pytest.param("{seed}_{guidance_scale}", "webp", "3_7.5.webp", id="a number is no suffix"),
        pytest.param("a.b/{seed}", "jpg", "a.b/3.jpg", id="a folder has none"),
        pytest.param(".png", "jpg", ".png.jpg", id="nothing else"),
    ],
)
def test_a_name_has_the_suffix_of_the_picture(pattern: str, suffix: str, name: str) -> None:
    assert file_name(pattern, row(key=f"jobs/j/1.1-r/000000007.{suffix}")) == name


def test_a_take_is_named_after_its_image() -> None:
    taken = row(number=number_of(7, take=2), key="jobs/j/1.1-r/2000000000007.png")

    assert file_name(DEFAULT_PATTERN, taken) == "000007-2_ddim_3.png"
    assert file_name("{number}", taken) == "7-2.png"


@pytest.mark.parametrize("key", FIELDS)
def test_every_recipe_key_may_stand_in_a_name(key: str) -> None:
    assert file_name(f"{{{key}}}.png", row(prompt=None, guidance_scale=None, options={key: "x"})).endswith(".png")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        pytest.param("{strenght}", "did you mean 'strength'?", id="typo"),
        pytest.param("{eta:.2f}", "not a name pattern", id="number format of a key that is not set"),
        pytest.param("{run}", "unknown field", id="column that is no field"),
        pytest.param("{number:99999999999}", "not a name pattern", id="more places than memory"),
    ],
)
def test_a_pattern_that_cannot_be_filled_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match="--name") as caught:
        file_name(pattern, row())

    assert message in str(caught.value)
