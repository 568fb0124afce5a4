"""What a job file may say of its files, and what becomes of it in the spec."""

from pathlib import Path
from typing import Any

import pytest

from storage.errors import InvalidSpec
from storage.spec import Job, ModelFacts, Spec, check_job_file, freeze
from storage.spec.finish import finish_of


def frozen(folder: Path, **output: Any) -> Spec:
    (folder / "model").mkdir(exist_ok=True)
    raw: dict[str, Any] = {"model": "model", "prompt": "a fox"}
    return freeze(check_job_file(raw | ({"output": output} if output else {})), base=folder, name="x", max_images=9)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        pytest.param({}, {"format": "png"}, id="silent"),
        pytest.param({"format": "png", "metadata": "full", "prompts": True, "lossless": False}, {"format": "png"},
                     id="defaults"),
        pytest.param({"format": "jpeg"}, {"format": "jpeg", "quality": 95}, id="jpeg"),
        pytest.param({"format": "webp"}, {"format": "webp", "quality": 90}, id="webp"),
        pytest.param({"format": "webp", "lossless": True}, {"format": "webp", "lossless": True}, id="lossless"),
        pytest.param({"prompts": False}, {"format": "png", "prompts": False}, id="prompts"),
        pytest.param({"metadata": "none", "prompts": False}, {"format": "png", "metadata": "none"}, id="other level"),
        pytest.param({"watermark": "x"}, {"format": "png", "watermark": "x"}, id="watermark"),
    ],
)  # fmt: skip
def test_what_is_said_is_kept_and_what_is_left_open_filled_in(
    tmp_path: Path, said: dict[str, Any], kept: dict[str, Any]
) -> None:
    spec = frozen(tmp_path, **said)

    assert spec.output == kept
    assert Job(Spec.from_json(spec.to_json())).spec.hash == spec.hash


def test_a_job_that_says_the_defaults_is_the_silent_one(tmp_path: Path) -> None:
    assert frozen(tmp_path, format="png", metadata="full").hash == frozen(tmp_path).hash
    assert finish_of(frozen(tmp_path, metadata="full"), {}) == ""


def test_images_are_linked_between_equal_outputs_alone(tmp_path: Path) -> None:
    outputs: list[dict[str, Any]] = [
        {}, {"format": "jpeg"}, {"format": "jpeg", "quality": 90}, {"metadata": "minimal"}, {"prompts": False},
        {"watermark": "x"},
    ]  # fmt: skip

    assert len({finish_of(frozen(tmp_path, **output), {}) for output in outputs}) == len(outputs)


def test_images_are_linked_between_watermarks_of_one_code_alone(tmp_path: Path) -> None:
    spec = frozen(tmp_path, watermark="x")
    codes = [ModelFacts(kind="watermark", digest=f"sha256:{digit * 64}", family="marks 1.0") for digit in "ab"]

    finishes = {finish_of(spec, {}), *(finish_of(spec, {"watermark:x": facts}) for facts in codes)}

    assert len(finishes) == 3


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"quality": 5}, "output.quality = 5: has no place with format png, which keeps every pixel"),
        ({"lossless": True}, "output.lossless = True: has no place with format png; only with webp"),
        ({"format": "jpeg", "lossless": True}, "output.lossless = True: has no place with format jpeg; only with webp"),
        ({"format": "webp", "lossless": True, "quality": 5}, "output.quality = 5: does nothing with lossless"),
        ({"format": "jpeg", "quality": 101}, "output.quality = 101: must be at most 100"),
        ({"format": "jpg"}, "output.format = 'jpg': must be 'png', 'jpeg' or 'webp'"),
        ({"metadata": "some"}, "output.metadata = 'some': must be 'full', 'minimal' or 'none'"),
        ({"watermark": ""}, "output.watermark = '': must not be empty"),
        ({"prompt": False}, "output.prompt = False: unknown key; did you mean 'prompts'?"),
    ],
    ids=str,
)  # fmt: skip
def test_what_contradicts_itself_is_refused(tmp_path: Path, said: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        frozen(tmp_path, **said)

    assert str(caught.value).startswith(rule)
