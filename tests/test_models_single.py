"""Checkpoints of one file: loaded with the network off, with configs of our own."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from storage.models.layout import Layout, inspect
from tiny.sd import build_tiny
from tiny.single import build_tiny_single_file
from worker.diffusion.single import load_single, load_single_part, loading
from worker.diffusion.single.configs import preset
from worker.diffusion.single.vocabulary import clip_tokenizer

PRESETS = ["sd15", "sd15-inpaint", "sd2", "sd2-v", "sd2-inpaint", "sdxl", "sdxl-v", "sdxl-inpaint", "sdxl-refiner"]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny") / "sd")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    file = build_tiny_single_file(tmp_path_factory.mktemp("single"))
    return inspect(file, "checkpoint", source=str(file))


def weights(pipe: Any) -> dict[str, torch.Tensor]:
    parts = {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


@pytest.mark.usefixtures("no_network")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_file_and_a_folder_of_the_same_weights_are_the_same_pipeline(folder: Path, layout: Layout) -> None:
    pipe = load_single(layout, dtype=torch.float32, config=folder)

    other = weights(StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, use_safetensors=True))
    found = weights(pipe)
    assert found.keys() == other.keys()
    assert [name for name in found if not torch.equal(found[name], other[name])] == []
    assert not any(part.training for part in (pipe.unet, pipe.vae, pipe.text_encoder))


@pytest.mark.usefixtures("no_network")
def test_a_file_is_built_from_the_preset_when_no_folder_is_given(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    tiny = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    small = {
        **preset("sd15"),
        "unet": tiny.unet.config,
        "vae": tiny.vae.config,
        "text_encoder": tiny.text_encoder.config.to_dict(),
    }
    monkeypatch.setattr(loading, "preset", lambda name: small)

    pipe = load_single(layout, dtype=torch.float16)

    assert layout.preset == "sd15"
    assert {value.dtype for value in weights(pipe).values() if value.is_floating_point()} == {torch.float16}
    assert pipe.tokenizer("Hi there").input_ids == [49406, 1883, 997, 49407]
    assert (type(pipe).__name__, pipe.safety_checker) == ("StableDiffusionPipeline", None)


@pytest.mark.usefixtures("no_network")
def test_a_vae_and_a_controlnet_of_one_file_are_built_like_those_beside_them(
    folder: Path, layout: Layout, tmp_path: Path
) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    start = "first_stage_model."
    inside = load_file(layout.files["model.safetensors"])
    save_file(
        {name.removeprefix(start): value for name, value in inside.items() if name.startswith(start)},
        tmp_path / "vae.safetensors",
    )
    control = ControlNetModel.from_unet(pipe.unet)
    save_file(dict(control.state_dict()), tmp_path / "control.safetensors")
    found = [
        inspect(tmp_path / f"{name}.safetensors", kind, source=name)
        for name, kind in (("vae", "vae"), ("control", "controlnet"))
    ]

    made = [load_single_part(one, dtype=torch.float32, beside=pipe) for one in found]

    assert torch.equal(made[0].decoder.conv_in.weight, pipe.vae.decoder.conv_in.weight)
    assert made[0].config.scaling_factor == pipe.vae.config.scaling_factor
    assert torch.equal(made[1].conv_in.weight, control.conv_in.weight)


def count(kind: Any, config: Any) -> int:
    with torch.device("meta"):
        return sum(value.numel() for value in kind(config).parameters()) if isinstance(config, CLIPTextConfig) else sum(
            value.numel() for value in kind.from_config(config).parameters()
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "unet", "text", "text_2"),
    [
        pytest.param("sd15", 859_520_964, 123_060_480, None, id="sd 1.5"),
        pytest.param("sd15-inpaint", 859_520_964 + 5 * 320 * 9, 123_060_480, None, id="sd 1.5 inpaint"),
        pytest.param("sd2-v", 865_910_724, 340_387_840, None, id="sd 2"),
        pytest.param("sdxl", 2_567_463_684, 123_060_480, 694_659_840, id="sdxl"),
        pytest.param("sdxl-refiner", 2_259_526_660, None, 694_659_840, id="refiner"),
    ],
)
def test_the_presets_have_the_parameters_of_the_released_models(
    name: str, unet: int, text: int | None, text_2: int | None
) -> None:
    configs = preset(name)

    index = configs["model_index.json"]
    assert count(UNet2DConditionModel, configs["unet"]) == unet
    assert count(AutoencoderKL, configs["vae"]) == 83_653_863
    if text is None:
        assert index["text_encoder"] == index["tokenizer"] == [None, None]
    else:
        assert count(CLIPTextModel, CLIPTextConfig(**configs["text_encoder"])) == text
    if text_2 is not None:
        assert count(CLIPTextModelWithProjection, CLIPTextConfig(**configs["text_encoder_2"])) == text_2


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_whole(name: str) -> None:
    configs = preset(name)

    parts = {part for part, entry in configs["model_index.json"].items() if isinstance(entry, list) and entry[0]}
    assert {part for part in parts if not part.startswith("tokenizer")} <= set(configs)
    assert {part for part in parts if part.startswith("tokenizer")} <= set(configs["pads"])
    assert ("inpaint" in name) == (configs["unet"]["in_channels"] == 9)
    assert name.endswith("-v") == (configs["scheduler"]["prediction_type"] == "v_prediction")


def test_prompts_become_the_numbers_that_clip_was_trained_with() -> None:
    tokenizer = clip_tokenizer(pad="!")

    said = tokenizer("A person riding a motorcycle", padding="max_length").input_ids

    assert (len(tokenizer), tokenizer.model_max_length) == (49408, 77)
    assert said[:7] == [49406, 320, 2533, 6765, 320, 10297, 49407]
    assert set(said[7:]) == {0}


@pytest.mark.parametrize(
    "text", ["a photo of a cat, 8k", "naïve café — “quoted” 12345", "日本の猫 🦊", "it's don't", "x" * 100]
)
def test_another_tokenizer_of_clip_agrees(text: str) -> None:
    from instant_clip_tokenizer import Tokenizer

    ours = clip_tokenizer(pad="<|endoftext|>")(text).input_ids

    assert ours[1:-1] == Tokenizer().encode(text)
