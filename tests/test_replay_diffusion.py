"""A real model's pictures come out the same when they are rendered again from their own provenance."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from farm_desk import Desk
from replay_desk import stained


@pytest.mark.timeout(600)  # torch is loaded by two farms, one after the other
def test_pictures_of_a_diffusion_model_are_rendered_again_to_the_pixel(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    desk = Desk(tmp_path, FARM_RENDERER="diffusers")
    file = desk.write_job(
        model=str(tiny_models("sd")), steps=2, guidance_scale=3, negative_prompt="blue", width=32, height=32,
        axes={"prompt": ["a red fox"], "seed": {"derive": 2}, "scheduler": ["ddim", "euler_a"]},
    )  # fmt: skip
    ended = desk.farm("run", str(file), "--plain", timeout_s=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = desk.images()
    spoiled = desk.home / "store" / str(rows[1].key)
    spoiled.write_bytes(stained(spoiled.read_bytes(), pixels=[(x, y) for x in range(20) for y in range(20)]))

    ended = desk.farm("verify", "desk", "--replay", "4", "--json", "--expect", "A", timeout_s=300)

    said = json.loads(ended.stdout)
    assert said["grades"] == {"A": 3, "B": 0, "C": 1, "D": 0}, said
    assert [one["image"] for one in said["images"] if one["grade"] == "C"] == ["1"]
    assert said["worst_psnr"] < 40
    assert ended.returncode == 1
    assert len(desk.images("desk")) == len(rows), "the replay is gone, and the job is as it was"


@pytest.mark.timeout(600)
def test_a_registered_model_stands_in_for_a_folder_that_was_emptied(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "sd15"
    shutil.copytree(tiny_models("sd"), folder)
    shutil.copytree(tiny_models("checker"), folder / "safety_checker")
    desk = Desk(tmp_path, FARM_RENDERER="diffusers")
    file = desk.write_job(
        model=str(folder), steps=2, width=32, height=32,
        axes={"prompt": ["a red fox"], "safety_checker": ["off", "flag"]},
    )  # fmt: skip
    for words in (["run", str(file), "--plain"], ["model", "add", "sd15", str(folder)]):
        ended = desk.farm(*words, timeout_s=300)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    for part in folder.iterdir():  # but for the checker, which the store does not keep
        if part.is_file():
            part.unlink()
        elif part.name != "safety_checker":
            shutil.rmtree(part)

    ended = desk.farm("verify", "desk", "--replay", "2", "--json", "--expect", "A", timeout_s=300)

    said = json.loads(ended.stdout)
    assert said["grades"] == {"A": 2, "B": 0, "C": 0, "D": 0}, said
    assert ended.returncode == 0
