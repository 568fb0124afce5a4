"""A real model's pictures come out the same when they are rendered again from their own provenance."""

import json
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
