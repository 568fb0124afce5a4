"""The tiny models are what the renderer's tests take them for: diffusers loads them, and what is asked for shows."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DiffusionPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessor

import tiny

Models = Callable[[str], Path]
# diffusers asks for an autocast that a CPU does not have, and hands numpy tensors in a way that numpy deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),
]
TEXT_MODELS = [name for name in tiny.PIPELINES if name != "ddpm"]
NO_T5 = {"text_encoder_3": None, "tokenizer_3": None}  # diffusers does not load such a folder by itself


@cache
def photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (tiny.SIDE, tiny.SIDE, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def load(models: Models, name: str, **options: Any) -> Any:
    extra = NO_T5 if name == "sd3_without_t5" else {}
    pipe = DiffusionPipeline.from_pretrained(
        models(name), local_files_only=True, dtype=torch.float32, **extra, **options
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call(name: str, **options: Any) -> dict[str, Any]:
    """What this pipeline wants to be called with."""
    wanted: dict[str, Any] = {"num_inference_steps": 2, "generator": torch.Generator().manual_seed(3)}
    if name == "ddpm":
        return wanted | options
    wanted["prompt"] = "a red fox"
    if name in {"sd_depth", "refiner"}:
        return wanted | {"image": photo(), "strength": 1.0} | options
    if name.endswith("inpaint"):
        wanted |= {"image": photo(), "mask_image": Image.new("L", photo().size, 255), "strength": 1.0}
    return wanted | {"width": tiny.SIDE, "height": tiny.SIDE} | options


def draw(pipe: Any, name: str, **options: Any) -> Any:
    """The 8-bit pixels of one picture."""
    return np.asarray(pipe(**call(name, **options)).images[0])


def apart(one: Any, other: Any) -> bool:
    """Whether more than a stray pixel differs."""
    return bool((one != other).mean() > 0.05)


@pytest.mark.parametrize("name", tiny.PIPELINES)
def test_plain_diffusers_draws_a_picture_with_it(tiny_models: Models, name: str) -> None:
    pipe = load(tiny_models, name)

    raw = pipe(**call(name, output_type="np")).images[0]

    assert raw.shape == (tiny.SIDE, tiny.SIDE, 3)
    assert np.isfinite(raw).all()
    assert raw.std() > 0.05
    assert ((raw > 0) & (raw < 1)).mean() > 0.25  # DDPM's is the harshest


@pytest.mark.parametrize("name", tiny.PIPELINES)
def test_the_seed_and_the_steps_show(tiny_models: Models, name: str) -> None:
    pipe = load(tiny_models, name)
    plain = draw(pipe, name)

    assert not apart(plain, draw(pipe, name))
    assert apart(plain, draw(pipe, name, generator=torch.Generator().manual_seed(4)))
    assert apart(plain, draw(pipe, name, num_inference_steps=3))


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_every_word_of_the_prompt_shows(tiny_models: Models, name: str) -> None:
    pipe = load(tiny_models, name)
    pictures = [draw(pipe, name, prompt=prompt) for prompt in ("a red fox", "a red cat", "a blue fox", "")]

    assert all(apart(one, other) for place, one in enumerate(pictures) for other in pictures[:place])


@pytest.mark.parametrize("name", [name for name in TEXT_MODELS if name not in {"flux_schnell", "qwen"}])
def test_the_guidance_shows(tiny_models: Models, name: str) -> None:
    pipe = load(tiny_models, name)

    assert apart(draw(pipe, name, guidance_scale=2.0), draw(pipe, name, guidance_scale=6.0))


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_equal_seeds_give_equal_files(tiny_models: Models, tmp_path: Path, name: str) -> None:
    before = torch.get_rng_state()
    built = tiny.BUILDERS[name](tmp_path / name)

    assert files(built) == files(tiny_models(name))
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_another_model(tiny_models: Models, tmp_path: Path) -> None:
    built = tiny.build_tiny(tmp_path / "sd", seed=1)

    differ = {name for name, content in files(built).items() if files(tiny_models("sd"))[name] != content}

    assert {name.split("/")[0] for name in differ} == {"unet", "vae", "text_encoder"}


def test_a_base_and_its_refiner_share_the_bytes_of_three_parts(tiny_models: Models) -> None:
    base, refiner = files(tiny_models("sdxl")), files(tiny_models("refiner"))

    differ = {name.split("/")[0] for name in base if refiner.get(name) != base[name]}
    alike = {name.split("/")[0] for name in base} - differ

    assert {"text_encoder_2", "tokenizer_2", "vae"} <= alike


def test_a_spoilt_pipeline_gives_nan(tmp_path: Path) -> None:
    folder = tiny.build_tiny(tmp_path / "nan")
    tiny.spoil(folder)

    raw = load({"sd": folder}.__getitem__, "sd")(**call("sd", output_type="pt")).images

    assert torch.isnan(raw).all()


@pytest.mark.parametrize(
    ("model", "file"), [("sd", "lora"), ("sd", "lora_kohya"), ("sdxl", "lora_xl")], ids=["sd", "kohya", "sdxl"]
)
def test_a_lora_shows_and_can_be_taken_off(tiny_models: Models, model: str, file: str) -> None:
    pipe = load(tiny_models, model)
    plain = draw(pipe, model)

    lora = tiny_models(file)
    pipe.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name="toy")
    with_it = draw(pipe, model)
    pipe.set_adapters(["toy"], [0.5])
    half = draw(pipe, model)
    pipe.unload_lora_weights()

    assert apart(plain, with_it)
    assert apart(half, with_it)
    assert apart(half, plain)
    assert not apart(plain, draw(pipe, model))


def test_both_ways_to_name_a_loras_weights_draw_the_same_picture(tiny_models: Models) -> None:
    pictures = []
    for name in ("lora", "lora_kohya"):
        pipe = load(tiny_models, "sd")
        pipe.load_lora_weights(tiny_models(name).parent, weight_name=tiny_models(name).name)
        assert set(pipe.get_list_adapters()) == {"unet", "text_encoder"}
        pictures.append(draw(pipe, "sd"))

    assert (pictures[0] == pictures[1]).all()


def test_an_embedding_shows_where_its_token_stands(tiny_models: Models) -> None:
    pipe = load(tiny_models, "sd")
    pipe.load_textual_inversion(tiny_models("embedding"))

    assert len(pipe.tokenizer.tokenize(pipe.maybe_convert_prompt(tiny.TOKEN, pipe.tokenizer))) == 2
    assert apart(draw(pipe, "sd", prompt="a <toy>"), draw(pipe, "sd", prompt="a"))


def test_an_embedding_for_xl_has_vectors_for_both_encoders(tiny_models: Models) -> None:
    pipe = load(tiny_models, "sdxl")
    vectors = load_file(tiny_models("embedding_xl"))
    pipe.load_textual_inversion(
        vectors["clip_l"], token=tiny.TOKEN, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer
    )
    pipe.load_textual_inversion(
        vectors["clip_g"], token=tiny.TOKEN, text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2
    )

    assert apart(draw(pipe, "sdxl", prompt="a <toy>"), draw(pipe, "sdxl", prompt="a"))


@pytest.mark.parametrize("model", ["sd", "sdxl"])
def test_another_vae_shows(tiny_models: Models, model: str) -> None:
    vae = AutoencoderKL.from_pretrained(tiny_models("vae"), local_files_only=True)

    assert apart(draw(load(tiny_models, model), model), draw(load(tiny_models, model, vae=vae), model))


@pytest.mark.parametrize(
    ("model", "net", "kind"),
    [
        pytest.param("sd", "controlnet", StableDiffusionControlNetPipeline, id="sd"),
        pytest.param("sdxl", "controlnet_xl", StableDiffusionXLControlNetPipeline, id="sdxl"),
    ],
)
def test_a_controlnets_picture_shows(tiny_models: Models, model: str, net: str, kind: Any) -> None:
    parts = load(tiny_models, model).components
    pipe = kind(**parts, controlnet=ControlNetModel.from_pretrained(tiny_models(net), local_files_only=True))
    pipe.set_progress_bar_config(disable=True)

    noise = draw(pipe, model, image=photo())

    assert apart(noise, draw(pipe, model, image=Image.new("RGB", photo().size, "white")))
    assert apart(noise, draw(pipe, model, image=photo(), controlnet_conditioning_scale=0.0))


def test_an_ip_adapters_picture_shows(tiny_models: Models) -> None:
    pipe = load(tiny_models, "sd")
    pipe.load_ip_adapter(
        str(tiny_models("ip_adapter")), subfolder="", weight_name="ip_adapter.safetensors", local_files_only=True
    )

    noise = draw(pipe, "sd", ip_adapter_image=photo())
    white = draw(pipe, "sd", ip_adapter_image=Image.new("RGB", photo().size, "white"))
    pipe.set_ip_adapter_scale(0.0)

    assert apart(noise, white)
    assert apart(noise, draw(pipe, "sd", ip_adapter_image=photo()))


@pytest.mark.parametrize(("name", "flagged"), [("checker", False), ("checker_strict", True)])
def test_a_checker_flags_all_or_nothing(tiny_models: Models, name: str, flagged: bool) -> None:
    checker = StableDiffusionSafetyChecker.from_pretrained(tiny_models(name), local_files_only=True)
    processor = CLIPImageProcessor.from_pretrained(tiny_models(name), local_files_only=True)
    pipe = load(tiny_models, "sd", safety_checker=checker, feature_extractor=processor)

    made = pipe(**call("sd"))

    assert made.nsfw_content_detected == [flagged]
    assert (np.asarray(made.images[0]).max() == 0) == flagged


def test_one_file_draws_what_the_folder_draws(tiny_models: Models) -> None:
    pipe = StableDiffusionPipeline.from_single_file(
        tiny_models("single_file"), config=str(tiny_models("sd")), local_files_only=True, dtype=torch.float32
    )
    pipe.set_progress_bar_config(disable=True)

    assert (draw(pipe, "sd") == draw(load(tiny_models, "sd"), "sd")).all()


def files(place: Path) -> dict[str, bytes]:
    if place.is_file():
        return {place.name: place.read_bytes()}
    return {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*") if file.is_file()}
