"""One .safetensors file into a pipeline, or into one part of it. Nothing is fetched."""

import inspect
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
from diffusers import ControlNetModel

from storage.errors import ModelUnusable
from storage.models.layout import FILE, Layout
from worker.diffusion.single.configs import preset, write_folder
from worker.diffusion.single.vocabulary import clip_tokenizer


def load_single(layout: Layout, *, dtype: torch.dtype, config: Path | None = None) -> Any:
    """The pipeline of a checkpoint of one file, on the CPU, in evaluation mode.

    Args:
        layout: From `storage.models.layout.inspect`; its preset says which configs fit.
        dtype: Of the weights.
        config: A diffusers folder to take configs and tokenizers from, instead of the preset.

    Raises:
        VocabularyMissing: CLIP's vocabulary is not on this host.
        ModelUnusable: It is no checkpoint of one file.
        Exception: Whatever diffusers raises on weights that do not fit.
    """
    file = layout.files[FILE]
    kind = getattr(diffusers, layout.family)
    if config is not None:
        return _load(kind, file, folder=config, dtype=dtype)
    if layout.preset is None:
        raise ModelUnusable(str(file), "is no checkpoint of one file")
    configs = preset(layout.preset)
    tokenizers = {name: clip_tokenizer(pad=pad) for name, pad in configs["pads"].items()}
    wanted = {name: made for name, made in tokenizers.items() if configs["model_index.json"][name][0]}
    with TemporaryDirectory() as folder:
        write_folder(configs, Path(folder))
        return _load(kind, file, folder=Path(folder), dtype=dtype, **wanted)


def load_single_part(layout: Layout, *, dtype: torch.dtype, beside: Any) -> Any:
    """A VAE or ControlNet of one file.

    Args:
        layout: From `storage.models.layout.inspect`.
        dtype: Of the weights.
        beside: The pipeline that it will work in: a file tells its weights and not, for one, how latents are scaled.
    """
    kind = getattr(diffusers, layout.family)
    config = _controlnet_config(beside.unet.config) if layout.kind == "controlnet" else dict(beside.vae.config)
    with TemporaryDirectory() as folder:
        write_folder({"config.json": {**_plain(config), "_class_name": layout.family}}, Path(folder))
        return kind.from_single_file(str(layout.files[FILE]), config=folder, dtype=dtype, local_files_only=True).eval()


def _load(kind: Any, file: Path, *, folder: Path, dtype: torch.dtype, **tokenizers: Any) -> Any:
    pipe = kind.from_single_file(str(file), config=str(folder), dtype=dtype, local_files_only=True, **tokenizers)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipe


def _controlnet_config(unet: Any) -> dict[str, Any]:
    """A ControlNet is the first half of a UNet: it is built alike, and sees plain latents even beside an inpainter."""
    shared = set(inspect.signature(ControlNetModel.__init__).parameters) & set(unet)
    return {**{name: unet[name] for name in shared}, "in_channels": 4}


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if not name.startswith("_")}
