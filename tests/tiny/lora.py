"""LoRA files for the tiny pipelines, loud enough to change a picture; a file fits every seed of its family."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tiny.parts import clip_text, drawn
from tiny.sd import sd_unet
from tiny.xl import xl_unet

RANK = 4
_FILE = "pytorch_lora_weights.safetensors"
_UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
_TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")


def build_tiny_lora(folder: Path, *, seed: int = 0) -> Path:
    """Save a LoRA of Stable Diffusion's UNet and text encoder as diffusers names them; returns the file."""
    text = clip_text("lora.text_encoder", seed=seed)
    StableDiffusionPipeline.save_lora_weights(
        folder,
        unet_lora_layers=_layers(sd_unet(seed=seed), _UNET_LAYERS, name="lora.unet", seed=seed),
        text_encoder_lora_layers=_layers(text, _TEXT_LAYERS, name="lora.text", seed=seed),
    )
    return folder / _FILE


def build_tiny_lora_xl(folder: Path, *, seed: int = 0) -> Path:
    """Save a LoRA of Stable Diffusion XL's UNet as diffusers names it; returns the file."""
    layers = _layers(xl_unet(seed=seed), _UNET_LAYERS, name="lora.xl.unet", seed=seed)
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=layers)
    return folder / _FILE


def build_tiny_lora_kohya(folder: Path, *, seed: int = 0) -> Path:
    """Save the weights of `build_tiny_lora` as Kohya's scripts name them; returns the file."""
    weights = convert_state_dict_to_kohya(load_file(build_tiny_lora(folder, seed=seed)))
    (folder / _FILE).unlink()
    file = folder / "kohya.safetensors"
    renamed = {name.replace("lora_te1_", "lora_te_"): weight.contiguous() for name, weight in weights.items()}
    save_file(renamed, file, metadata={"format": "pt"})
    return file


def _layers(part: Any, targets: Iterable[str], *, name: str, seed: int) -> dict[str, Tensor]:
    """Both halves of an adapter drawn at random; peft starts the second one at nought."""
    with drawn(name, seed=seed):
        part.add_adapter(
            LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=list(targets))
        )
        weights: dict[str, Tensor] = get_peft_model_state_dict(part)
        for weight in weights.values():
            nn.init.normal_(weight, std=0.3)
        return {key: weight.detach().clone() for key, weight in weights.items()}
