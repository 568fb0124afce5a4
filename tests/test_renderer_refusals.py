"""What a model cannot do is refused by the key's name before the first picture, never dropped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.utils import is_invisible_watermark_available

import tiny
from renderer_bench import CHECKED, Bench, Models
from storage.errors import ModelMissing, OptionRefused
from storage.spec.fields import DEPTH, IMAGE_TO_IMAGE, INPAINT, TEXT_TO_IMAGE, UNCONDITIONAL

T2I, I2I = TEXT_TO_IMAGE, IMAGE_TO_IMAGE
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),
]
IMAGE, MASK = {"init_image": "one"}, {"init_image": "one", "mask": "mask"}
CONTROL = {"control_image": "one", "controlnet": "controlnet"}
XL_ONLY = {
    "original_size": [32, 32], "target_size": [32, 32], "crops_coords_top_left": [0, 0],
    "negative_original_size": [32, 32], "negative_target_size": [32, 32], "negative_crops_coords_top_left": [0, 0],
}  # fmt: skip
EVERY = ("sd", "sdxl", "sd3", "flux", "qwen", "z_image")
# What is refused, with what it is refused, by the models named.
UNKNOWN: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [
    ("prompt_2", {"prompt_2": "a cat"}, ("sd", "qwen", "z_image")),
    ("prompt_3", {"prompt_3": "a cat"}, ("sd", "sdxl", "flux", "qwen", "z_image")),
    ("negative_prompt_2", {"negative_prompt_2": "a cat"}, ("sd", "qwen", "z_image")),
    ("negative_prompt_3", {"negative_prompt_3": "a cat"}, ("sd", "sdxl", "flux", "qwen", "z_image")),
    ("negative_prompt", {"negative_prompt": "a cat"}, ("flux",)),
    ("true_cfg_scale", {"true_cfg_scale": 4.0}, EVERY),  # by flux and qwen for want of a negative prompt
    ("guidance_scale", {"guidance_scale": 5.0}, ("flux_schnell", "qwen")),
    ("guidance_rescale", {"guidance_rescale": 0.5}, ("sd3", "flux", "qwen", "z_image")),
    ("clip_skip", {"clip_skip": 1}, ("flux", "qwen", "z_image")),
    ("clip_skip", {"clip_skip": 30}, ("sd", "sdxl", "sd3")),
    ("max_sequence_length", {"max_sequence_length": 64}, ("sd", "sdxl")),
    *[(key, {key: value}, ("sd", "sd3", "flux", "qwen", "z_image")) for key, value in XL_ONLY.items()],
    ("eta", {"eta": 0.5, "scheduler": "euler"}, ("sd", "sdxl")),
    ("eta", {"eta": 0.5}, ("sd3", "flux", "qwen", "z_image")),
    ("timesteps", {"timesteps": [900, 500, 100]}, ("flux", "qwen", "z_image")),
    ("sigmas", {"sigmas": [10.0, 5.0, 1.0], "scheduler": "ddim"}, ("sd", "sdxl")),
    ("scheduler", {"scheduler": "flow_euler"}, ("sd", "sdxl")),
    ("scheduler", {"scheduler": "euler"}, ("sd3", "flux", "qwen", "z_image")),
    ("cfg_cutoff", {"cfg_cutoff": 0.5}, ("flux", "qwen")),
    ("dynamic_guidance", {"dynamic_guidance": [[0.0, 5.0]]}, ("flux", "qwen")),
    ("weighting", {"weighting": "a1111"}, ("sd3", "flux", "qwen", "z_image")),
    ("long_prompts", {"long_prompts": "chunk"}, ("sd3", "flux", "qwen", "z_image")),
    ("watermark", {"watermark": True}, EVERY if not is_invisible_watermark_available() else ("sd", "sd3", "flux")),
    ("controlnet", CONTROL, ("sdxl", "sd3", "flux", "qwen", "z_image")),
    ("vae", {"vae": "vae"}, ("qwen",)),
    ("embeddings", {"embeddings": [{"model": "embedding", "token": tiny.TOKEN}]}, ("sd3", "qwen", "z_image")),
    ("ip_adapter", {"ip_adapter": "ip_adapter", "ip_adapter_image": "one"}, ("qwen", "z_image")),
    ("refiner", {"refiner": "refiner", "refiner_strength": 0.5}, ("sd", "sd3", "flux", "z_image")),
    ("refiner", {"refiner": "sd", "refiner_strength": 0.5}, ("sdxl",)),
]
REFUSED = [(model, T2I, given, key) for key, given, models in UNKNOWN for model in models] + [
    ("sd_inpaint", T2I, {}, "mode"), ("sd_inpaint", I2I, IMAGE, "mode"), ("sdxl_inpaint", T2I, {}, "mode"),
    ("sd_depth", T2I, {}, "mode"), ("sd_depth", I2I, IMAGE, "mode"), ("sd", DEPTH, IMAGE, "mode"),
    ("sdxl", DEPTH, IMAGE, "mode"), ("flux", DEPTH, IMAGE, "mode"), ("ddpm", T2I, {}, "mode"),
    ("sd", UNCONDITIONAL, {"prompt": None}, "mode"), ("flux", UNCONDITIONAL, {"prompt": None}, "mode"),
    ("ddpm", UNCONDITIONAL, {"prompt": None, "eta": 0.5, "scheduler": "euler"}, "eta"),
    ("qwen", INPAINT, {**MASK, "mask_blur": 2, "guidance_scale": 4.0}, "guidance_scale"),
    ("sdxl", T2I, {"negative_original_size": [64, 64]}, "negative_original_size"),
    ("sdxl", T2I, {"negative_crops_coords_top_left": [1, 1]}, "negative_crops_coords_top_left"),
    ("sdxl", I2I, {**IMAGE, "negative_crops_coords_top_left": [1, 1]}, "negative_crops_coords_top_left"),
    ("refiner", I2I, {**IMAGE, "target_size": [64, 64]}, "target_size"),
    ("sdxl", T2I, {"refiner": "sdxl", "refiner_start": 0.5, "aesthetic_score": 9.0}, "aesthetic_score"),
    ("sdxl", I2I, {**IMAGE, "control_image": "one", "controlnet": "controlnet_xl", "refiner": "refiner",
                   "refiner_start": 0.5}, "refiner_start"),
    ("sdxl", INPAINT, {**MASK, "refiner": "refiner", "refiner_strength": 0.5, "padding_mask_crop": 4},
     "padding_mask_crop"),
    ("z_image", INPAINT, {**MASK, "padding_mask_crop": 4}, "padding_mask_crop"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tiny_models: Models, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    torch.set_num_threads(1)
    return Bench(tiny_models, tmp_path_factory.mktemp("home"))


def job(model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    usual = {"model": model, "prompt": "a red fox", "seed": 1, "steps": 3, "width": 32, "height": 32}
    return {key: value for key, value in {**usual, **given}.items() if value is not None}


@pytest.mark.parametrize(
    ("model", "mode", "given", "key"),
    [pytest.param(*case, id=f"{case[3]} {place} {case[0]} {case[1]}") for place, case in enumerate(REFUSED)],
)
def test_what_a_model_cannot_do_is_refused_by_name(
    bench: Bench, model: str, mode: str, given: Mapping[str, Any], key: str
) -> None:
    with pytest.raises(OptionRefused) as caught:
        bench.check(job(model, given), mode=mode)

    assert caught.value.args[0] == key
    assert len(caught.value.args[2]) > 20  # a reason, and what to do


def test_a_checker_that_a_model_came_without_is_missed_by_name(bench: Bench) -> None:
    with pytest.raises(ModelMissing, match="safety_checker: off"):
        bench.check(job("sd", {"safety_checker": "flag"}))


def test_a_refused_job_leaves_the_model_as_it_was(bench: Bench, tmp_path: Path) -> None:
    before = bench.pixels([job(CHECKED, {})] * 2)
    for given in ({"prompt_3": "a cat"}, {"scheduler": "flow_euler"}, CONTROL | {"clip_skip": 30}):
        with pytest.raises(OptionRefused):
            bench.check(job(CHECKED, given))

    assert bench.pixels([job(CHECKED, {})] * 2) == before
