"""Which files a model is made of: of folders as diffusers writes them, and of parts."""

from pathlib import Path
from typing import Any

import pytest

from model_files import INPAINT, LORA, SD15, SD_PARTS, write_json, write_pipeline, write_safetensors
from storage.errors import ModelMissing, ModelUnusable
from storage.models.digests import Hashes
from storage.models.layout import Layout, inspect

CHECKER = "StableDiffusionSafetyChecker"
VAE = {"block_out_channels": [1, 2, 3, 4]}


def look(path: Path, kind: str | None = None, **more: Any) -> Layout:
    return inspect(path, kind, source=str(path), **more)


def test_only_what_a_pipeline_loads_counts(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path, {**SD_PARTS, "safety_checker": {}})
    for spare in ("unet/diffusion_pytorch_model.fp16.safetensors", "unet/openvino.safetensors", "v1.safetensors"):
        write_safetensors(folder / spare, {"a": (1,)})
    for spare in ("README.md", "unet/diffusion_pytorch_model.bin", ".cache/a.json", "unet/model.bin.index.json"):
        write_json(folder / spare, {})

    found = look(folder)

    assert sorted(found.files) == [
        "model_index.json", "scheduler/scheduler_config.json", "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip
    assert (found.kind, found.family, found.width, found.height, found.variant, found.preset) == (
        "checkpoint", "StableDiffusionPipeline", 512, 512, None, None,
    )  # fmt: skip


def test_a_variant_is_chosen_where_it_is_there_and_taken_where_it_is_all_there_is(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path, SD_PARTS)
    write_safetensors(folder / "unet/diffusion_pytorch_model.fp16.safetensors", {"a": (1,)})
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    asked = look(folder, variant="fp16")
    plain = look(folder)
    vae.rename(vae.with_name("diffusion_pytorch_model.fp16.safetensors"))
    only = look(folder)

    weights = [
        [name for name in found.files if name.endswith(".safetensors")] for found in (asked, plain, only)
    ]  # fmt: skip
    stem = "diffusion_pytorch_model"
    assert weights == [
        [f"unet/{stem}.fp16.safetensors", f"vae/{stem}.safetensors"],
        [f"unet/{stem}.safetensors", f"vae/{stem}.safetensors"],
        [f"unet/{stem}.safetensors", f"vae/{stem}.fp16.safetensors"],
    ]
    assert [found.variant for found in (asked, plain, only)] == ["fp16", None, "fp16"]


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        pytest.param({"unet": {"sample_size": 128}, "vae": VAE}, (1024, 1024), id="SDXL"),
        pytest.param({"unet": {"sample_size": [48, 96]}, "vae": VAE}, (768, 384), id="height and width"),
        pytest.param({"unet": {}, "vae": VAE}, (512, 512), id="silent UNet"),
        pytest.param({"transformer": {"sample_size": 128}, "vae": VAE}, (1024, 1024), id="SD 3"),
        pytest.param({"transformer": {}, "vae": VAE}, (1024, 1024), id="Flux"),
        pytest.param(
            {"transformer": {"sample_size": 32}, "vae": {"encoder_block_out_channels": [1] * 6}}, (1024, 1024),
            id="Sana",
        ),
        pytest.param({"unet": {"sample_size": 32}}, (32, 32), id="DDPM"),
        pytest.param({"unet": {"sample_size": 64}, "vqvae": {"block_out_channels": [1, 2, 3]}}, (256, 256), id="LDM"),
    ],
)  # fmt: skip
def test_the_native_size_stands_in_the_configs(tmp_path: Path, parts: dict[str, Any], size: tuple[int, int]) -> None:
    found = look(write_pipeline(tmp_path, parts, kind="AnyPipeline"))

    assert (found.width, found.height) == size


def test_the_oldest_folders_keep_all_parts_side_by_side(tmp_path: Path) -> None:
    write_json(tmp_path / "model_index.json", {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"],
                                               "scheduler": ["diffusers", "DDPMScheduler"]})  # fmt: skip
    write_json(tmp_path / "config.json", {"sample_size": 32})
    write_json(tmp_path / "scheduler_config.json", {})
    write_safetensors(tmp_path / "diffusion_pytorch_model.safetensors", {"a": (1,)})

    found = look(tmp_path)

    assert (found.width, found.height, len(found.files)) == (32, 32, 4)


def test_a_depth_model_keeps_what_feeds_it(tmp_path: Path) -> None:
    parts = {**SD_PARTS, "depth_estimator": {}, "feature_extractor": {}, "safety_checker": {}}

    found = look(write_pipeline(tmp_path, parts, kind="StableDiffusionDepth2ImgPipeline"))

    assert {name.partition("/")[0] for name in found.files} == {
        *SD_PARTS,
        "depth_estimator",
        "feature_extractor",
        "model_index.json",
    }


def test_missing_shards_are_named(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path, SD_PARTS)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))
    names = [f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    write_json(
        folder / "unet" / "diffusion_pytorch_model.safetensors.index.json",
        {"weight_map": dict(zip("ab", names, strict=True))},
    )

    with pytest.raises(ModelUnusable, match=r"unet/diffusion_pytorch_model-00002-of-00002\.safetensors is missing"):
        look(folder)


def test_a_part_that_is_named_and_not_there_is_told(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path / "a", SD_PARTS)
    for file in (folder / "vae").iterdir():
        file.unlink()
    pickled = write_pipeline(tmp_path / "b", SD_PARTS)
    weights = pickled / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))

    with pytest.raises(ModelUnusable, match="no files in vae/"):
        look(folder)
    with pytest.raises(ModelUnusable, match=r"no \.safetensors weights in unet/; pickles run code"):
        look(pickled)


@pytest.mark.parametrize(
    ("config", "kind", "family"),
    [
        pytest.param({"_class_name": "AutoencoderKL"}, "vae", "AutoencoderKL", id="VAE"),
        pytest.param({"_class_name": "ControlNetModel"}, "controlnet", "ControlNetModel", id="ControlNet"),
        pytest.param({"architectures": [CHECKER]}, "safety_checker", CHECKER, id="checker"),
    ],
)  # fmt: skip
def test_a_folder_of_one_part_is_known_by_its_config(
    tmp_path: Path, config: dict[str, object], kind: str, family: str
) -> None:
    write_json(tmp_path / "config.json", config)
    write_safetensors(tmp_path / "model.safetensors", {"a": (1,)})

    found = look(tmp_path, kind)

    assert (found.kind, found.family, sorted(found.files)) == (kind, family, ["config.json", "model.safetensors"])


def test_a_file_alone_and_the_same_file_in_a_folder_are_one_model(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "lora" / "pytorch_lora_weights.safetensors", LORA)
    other = write_safetensors(tmp_path / "renamed.safetensors", LORA)
    hashes = Hashes(None)

    digests = {hashes.digest_of(look(path, "lora").files) for path in (file, file.parent, other)}

    assert len(digests) == 1


def test_an_ip_adapter_comes_with_its_image_encoder(tmp_path: Path) -> None:
    shapes = {"image_proj.proj.weight": (1, 1), "ip_adapter.1.to_k_ip.weight": (320, 768)}
    file = write_safetensors(tmp_path / "some.safetensors", shapes)
    with pytest.raises(ModelUnusable, match=r"no image_encoder/config\.json"):
        look(file)
    write_json(tmp_path / "image_encoder" / "config.json", {})
    write_safetensors(tmp_path / "image_encoder" / "model.safetensors", {"a": (1,)})

    found = [look(path, "ip_adapter") for path in (file, tmp_path)]

    assert found[0].files == found[1].files
    assert list(found[0].files) == [
        "image_encoder/config.json",
        "image_encoder/model.safetensors",
        "ip_adapter.safetensors",
    ]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(lambda folder: folder / "gone", "no such file or folder", id="nothing"),
        pytest.param(lambda folder: folder, "no model_index.json; a model is a folder as", id="empty folder"),
        pytest.param(lambda folder: write_json(folder / "a.ckpt", {}), "is a pickle", id="pickle"),
        pytest.param(lambda folder: write_json(folder / "a.bin", {}).parent, "pickles only", id="pickles"),
        pytest.param(lambda folder: write_json(folder / "a.zip", {}), "must be a .safetensors file", id="archive"),
        pytest.param(lambda folder: write_json(folder / "model_index.json", []).parent, "JSON object", id="a list"),
        pytest.param(lambda folder: write_json(folder / "model_index.json", {"_class_name": ["my", "Own"]}).parent,
                     "names no pipeline of diffusers", id="code of its own"),
        pytest.param(lambda folder: write_safetensors(folder / "a.safetensors", {**SD15, **INPAINT}),
                     r"is a checkpoint \(StableDiffusionInpaintPipeline\), no lora", id="another kind"),
    ],
)  # fmt: skip
def test_what_is_no_such_model_is_refused_with_a_reason(tmp_path: Path, make: Any, said: str) -> None:
    with pytest.raises((ModelUnusable, ModelMissing), match=said):
        look(make(tmp_path), "lora")


def test_two_files_in_a_folder_must_be_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_safetensors(tmp_path / f"{name}.safetensors", LORA)

    with pytest.raises(ModelUnusable, match="holds 2 "):
        look(tmp_path)
