"""Model files for tests: safetensors with the right names and shapes and no weights to speak of, and folders."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from storage.models.anatomy.headers import Header

LDM = "model.diffusion_model."
UNET = {f"{LDM}input_blocks.0.0.weight": (320, 4, 3, 3), "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}
SD15 = {**UNET, "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768)}
SD2 = {**UNET, "cond_stage_model.model.token_embedding.weight": (49408, 1024)}
XL = {**UNET, "conditioner.embedders.0.transformer.text_model.a": (1,), "conditioner.embedders.1.model.b": (1,)}
REFINER = {**UNET, "conditioner.embedders.0.model.b": (1,)}
INPAINT = {f"{LDM}input_blocks.0.0.weight": (320, 9, 3, 3)}
LORA = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (8, 768)}


def header(shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Header:
    return Header(shapes, metadata)


def write_safetensors(file: Path, shapes: Mapping[str, tuple[int, ...]], *, fill: int = 0, **metadata: str) -> Path:
    """A small valid file: every tensor has its last side only, so that gigabytes of shapes stay bytes on the disk.

    Tests that need true shapes use `header`.
    """
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, shape in shapes.items():
        entries[name] = {"dtype": "U8", "shape": list(shape), "data_offsets": [at, at + 1]}
        at += 1
    head = json.dumps(entries).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(struct.pack("<Q", len(head)) + head + bytes([fill]) * at)
    return file


def write_json(file: Path, entry: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(entry))
    return file


def write_pipeline(
    folder: Path, parts: Mapping[str, Mapping[str, object]], *, kind: str = "StableDiffusionPipeline", fill: int = 0
) -> Path:
    """A diffusers folder: parts by name with their config; each gets weights, a scheduler does not."""
    index: dict[str, object] = {"_class_name": kind, "_diffusers_version": "0.42.1"}
    for name, config in parts.items():
        index[name] = ["diffusers", "SomeClass"]
        if name == "scheduler":
            write_json(folder / name / "scheduler_config.json", config)
        else:
            write_json(folder / name / "config.json", config)
            write_safetensors(folder / name / "diffusion_pytorch_model.safetensors", {name: (1,)}, fill=fill)
    write_json(folder / "model_index.json", index)
    return folder


SD_PARTS: dict[str, dict[str, object]] = {
    "unet": {"sample_size": 64},
    "vae": {"block_out_channels": [1, 2, 3, 4]},
    "scheduler": {},
}
