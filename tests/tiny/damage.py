"""Harm done to saved pipelines, for tests of what the renderer says of it."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def spoil(folder: Path) -> None:
    """Make the VAE of a saved pipeline give NaN."""
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.startswith("decoder.conv_out"))
    save_file({**weights, name: torch.full_like(weights[name], float("nan"))}, file, metadata={"format": "pt"})
