"""What a lone safetensors file is, told from names and shapes alone."""

from pathlib import Path

import pytest

from model_files import INPAINT, LDM, LORA, REFINER, SD2, SD15, UNET, XL, header, write_safetensors
from storage.errors import ModelUnusable
from storage.models.anatomy.recognition import recognise
from storage.models.layout import inspect


@pytest.mark.parametrize(
    ("shapes", "metadata", "preset", "family", "side"),
    [
        pytest.param(SD15, {}, "sd15", "StableDiffusionPipeline", 512, id="sd 1.5"),
        pytest.param({**SD15, **INPAINT}, {}, "sd15-inpaint", "StableDiffusionInpaintPipeline", 512, id="sd 1 fill"),
        pytest.param(SD2, {"modelspec.prediction_type": "v"}, "sd2", "StableDiffusionPipeline", 768, id="sd 2 v"),
        pytest.param(SD2, {"modelspec.prediction_type": "epsilon"}, "sd2", "StableDiffusionPipeline", 512, id="sd 2"),
        pytest.param({**SD2, **INPAINT}, {}, "sd2-inpaint", "StableDiffusionInpaintPipeline", 512, id="sd 2 inpaint"),
        pytest.param(XL, {}, "sdxl", "StableDiffusionXLPipeline", 1024, id="sdxl"),
        pytest.param(XL, {"modelspec.resolution": "768x768"}, "sdxl", "StableDiffusionXLPipeline", 768, id="size"),
        pytest.param({**XL, **INPAINT}, {}, "sdxl-inpaint", "StableDiffusionXLInpaintPipeline", 1024, id="xl fill"),
        pytest.param(REFINER, {}, "sdxl-refiner", "StableDiffusionXLImg2ImgPipeline", 1024, id="refiner"),
    ],
)  # fmt: skip
def test_a_checkpoint_is_known_by_its_keys(
    shapes: dict[str, tuple[int, ...]], metadata: dict[str, str], preset: str, family: str, side: int
) -> None:
    found = recognise(header(shapes, **metadata), source="x")

    assert (found.kind, found.preset, found.family, found.side) == ("checkpoint", preset, family, side)


@pytest.mark.parametrize(
    ("shapes", "kind", "family"),
    [
        pytest.param(LORA, "lora", "sd1", id="kohya LoRA"),
        pytest.param({"unet.d.attn2.to_k.lora_A.weight": (4, 2048)}, "lora", "sdxl", id="PEFT LoRA"),
        pytest.param({"unet.d.attn2.processor.to_k_lora.down.weight": (4, 1024)}, "lora", "sd2", id="old LoRA"),
        pytest.param({"transformer.x.lora_A.weight": (4, 64)}, "lora", "other", id="LoRA of a transformer"),
        pytest.param({"emb_params": (3, 768)}, "embedding", "sd1", id="web UI embedding"),
        pytest.param({"<cat>": (1024,)}, "embedding", "sd2", id="diffusers embedding"),
        pytest.param({"clip_l": (1, 768), "clip_g": (1, 1280)}, "embedding", "sdxl", id="SDXL embedding"),
        pytest.param(
            {"encoder.conv_in.weight": (1, 3, 3, 3), "decoder.conv_in.weight": (1, 4, 3, 3)}, "vae", "AutoencoderKL",
            id="VAE",
        ),
        pytest.param({"control_model.time_embed.0.weight": (1, 1)}, "controlnet", "ControlNetModel", id="ControlNet"),
        pytest.param(
            {"image_proj.proj.weight": (1, 1), "ip_adapter.1.to_k_ip.weight": (320, 768)}, "ip_adapter", "sd1",
            id="IP-Adapter",
        ),
    ],
)  # fmt: skip
def test_a_part_is_known_by_its_keys(shapes: dict[str, tuple[int, ...]], kind: str, family: str) -> None:
    found = recognise(header(shapes), source="x")

    assert (found.kind, found.family, found.preset, found.side) == (kind, family, None, None)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        pytest.param({f"{LDM}double_blocks.0.a": (1,)}, "no Stable Diffusion 1, 2 or XL", id="another model"),
        pytest.param(UNET, "without its text encoder or VAE", id="UNet alone"),
        pytest.param({**SD15, f"{LDM}input_blocks.0.0.weight": (320, 8, 3, 3)}, "takes 8 channels", id="edits by text"),
        pytest.param({"x.hada_w1_a": (1,)}, "LyCORIS", id="LoHa"),
        pytest.param({"lora_controlnet": (1,)}, "Control-LoRA", id="Control-LoRA"),
        pytest.param(
            {"encoder.conv_in.weight": (1, 3, 3, 3, 3), "decoder.conv_in.weight": (1, 4, 3, 3, 3)}, "video", id="video"
        ),
        pytest.param({"a": (1,), "b": (1,)}, "holds none of a checkpoint", id="anything"),
    ],
)  # fmt: skip
def test_what_no_worker_loads_is_refused_by_name(shapes: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(ModelUnusable, match=said):
        recognise(header(shapes), source="x")


def test_an_sd2_file_needs_a_note_of_how_it_was_trained(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "two.safetensors", SD2)
    with pytest.raises(ModelUnusable, match=r"put beside it two\.yaml with 'parameterization: v'"):
        inspect(file, None, source=str(file))

    found = {}
    for text in ("model: {params: {parameterization: v}}", "parameterization: eps", "model: {params: {}}"):
        (tmp_path / "two.yaml").write_text(text)
        layout = inspect(file, "checkpoint", source=str(file))
        found[text] = (layout.preset, layout.width, sorted(layout.files))

    files = ["model.safetensors", "model.yaml"]
    assert list(found.values()) == [("sd2-v", 768, files), ("sd2", 512, files), ("sd2", 512, files)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "is no safetensors file", id="empty"),
        pytest.param(b"PK\x03\x04 a zip of pickles", "is no safetensors file", id="pickle"),
        pytest.param(b"\xff" * 64, "is no safetensors file", id="absurd length"),
        pytest.param(b"\x02\0\0\0\0\0\0\0[]", "is no safetensors file", id="a list"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)

    with pytest.raises(ModelUnusable, match=said):
        inspect(tmp_path / "a.safetensors", None, source="a")


def test_a_file_that_is_cut_short_is_told_by_how_much(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "a.safetensors", SD15)
    file.write_bytes(file.read_bytes()[:-2])

    with pytest.raises(ModelUnusable, match="cut short by 2 bytes"):
        inspect(file, None, source="a")
