"""Files whose own record is odd, by accident or on purpose, are told and refused like others, on both databases."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import SecretStr

from dispatcher.farm import Farm
from dispatcher.provenance.finding import find_file
from dispatcher.replaying.alone import rerun_file
from dispatcher.replaying.running import Means
from storage.errors import UserError
from storage.settings import Settings
from storage.spec.recipe import RECIPE_SCHEMA
from storage.sql import Database

PLAN = {"device_type": "cpu", "dtype": "float32", "batch": 1, "threads": 1, "tf32": False}
WITHOUT_HASH = [
    pytest.param('{"recipe": {"prompt": "\\ud800"}}', id="half a surrogate pair"),
    pytest.param('{"recipe": {"\\udfff": 1}}', id="the same as a key"),
    pytest.param('{"recipe": {"x": 1e999}}', id="beyond floats"),
    pytest.param('{"recipe": {"x": ' + "[" * 980 + "]" * 980 + "}}", id="deep"),
    pytest.param('{"recipe_hash": "\\ud800"}', id="surrogate as hash"),
    pytest.param('{"recipe_hash": "a\\u0000b"}', id="NUL in hash"),
    pytest.param('{"recipe_hash": "' + "A" * 64 + '"}', id="capitals as hash"),
    pytest.param('{"recipe_hash": 7}', id="number as hash"),
]


@pytest.fixture
def farm(database: Database, database_url: str, tmp_path: Path) -> Iterator[Farm]:
    farm = Farm(Settings(home=tmp_path, database_url=SecretStr(database_url)))
    yield farm
    farm.database.close()


def strange(folder: Path, record: str) -> Path:
    """A picture that no farm made, with a record in the place of ours."""
    text, file = PngInfo(), folder / "strange.png"
    text.add_itxt("seedfarm", record)
    Image.new("RGB", (64, 64), (1, 2, 3)).save(file, pnginfo=text)
    return file


@pytest.mark.parametrize("record", WITHOUT_HASH)
def test_a_record_that_has_no_hash_leads_to_nothing(farm: Farm, tmp_path: Path, record: str) -> None:
    file = strange(tmp_path, record)

    found = find_file(farm, file)

    assert (found.by, found.candidates, found.said.recipe_hash) == (None, (), None)
    json.dumps(found.said.to_json(), indent=2, ensure_ascii=False).encode()
    with pytest.raises(UserError, match="does not say how it came to be"):
        rerun_file(farm, file, means=Means())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"prompt": "a\0b"}, id="NUL in the prompt"),
        pytest.param({"loras": [7]}, id="a number as a LoRA"),
        pytest.param({"loras": [{"model": ["x"], "scale": 1}]}, id="a list as a digest"),
        pytest.param({"loras": 7}, id="a number as LoRAs"),
        pytest.param({"model": {"x": 1}}, id="a mapping as a model"),
        pytest.param({"model": "a\0b"}, id="NUL in the model"),
        pytest.param({"safety_checker": ["x"]}, id="a list as a checker"),
        pytest.param({"mode": ["x"]}, id="a list as a mode"),
        pytest.param({"init_image": "a\0b", "mode": "image-to-image"}, id="NUL in an input image"),
        pytest.param({"width": -8}, id="a size below zero"),
        pytest.param({"scheduler": {"class": ["x"], "options": 7}}, id="a scheduler of lists"),
        pytest.param({"callbacks": [7]}, id="a number as a callback"),
    ],
)
def test_a_recipe_of_odd_values_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    recipe = {
        "schema": RECIPE_SCHEMA, "mode": "text-to-image", "model": "sha256:" + "a" * 64, "prompt": "a fox", "seed": 1,
        "width": 64, "height": 64, "steps": 1, "guidance_scale": 1.0, **change,
    }  # fmt: skip
    file = strange(tmp_path, json.dumps({"recipe": recipe, "plan": PLAN}))
    farm = Farm(Settings(home=tmp_path))
    farm.database.prepare()

    with pytest.raises(UserError) as refused:
        rerun_file(farm, file, means=Means())

    farm.database.close()
    assert "\n" not in str(refused.value)
