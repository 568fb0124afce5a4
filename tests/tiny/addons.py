"""What a pipeline can be given beside its own parts: ControlNet, IP-Adapter, embedding, another VAE, safety checker."""

from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import save_file
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tiny.parts import SIDE, WIDTH, drawn, vae
from tiny.sd import sd_unet
from tiny.xl import xl_unet

TOKEN = "<toy>"
_IMAGE_TOKENS = 4  # of a plain IP-Adapter, fixed by its format


def build_tiny_controlnet(folder: Path, *, seed: int = 0) -> Path:
    """Save a ControlNet for Stable Diffusion."""
    return _save_controlnet(folder, sd_unet(seed=seed), name="sd.controlnet", seed=seed)


def build_tiny_controlnet_xl(folder: Path, *, seed: int = 0) -> Path:
    """Save a ControlNet for Stable Diffusion XL."""
    return _save_controlnet(folder, xl_unet(seed=seed), name="xl.controlnet", seed=seed)


def build_tiny_vae(folder: Path, *, seed: int = 0) -> Path:
    """Save a VAE that fits Stable Diffusion and XL and is neither's own."""
    vae("addon.vae", seed=seed).save_pretrained(folder)
    return folder


def build_tiny_embedding(folder: Path, *, seed: int = 0) -> Path:
    """Save a textual inversion of two vectors for Stable Diffusion, its token inside; returns the file."""
    with drawn("sd.embedding", seed=seed):
        return _save_file(folder, {TOKEN: torch.randn(2, WIDTH)}, name="toy.safetensors")


def build_tiny_embedding_xl(folder: Path, *, seed: int = 0) -> Path:
    """Save one for both text encoders of Stable Diffusion XL; the token is the caller's; returns the file."""
    with drawn("xl.embedding", seed=seed):
        vectors = {"clip_l": torch.randn(2, WIDTH), "clip_g": torch.randn(2, WIDTH)}
    return _save_file(folder, vectors, name="toy_xl.safetensors")


def build_tiny_ip_adapter(folder: Path, *, seed: int = 0) -> Path:
    """Save an IP-Adapter for Stable Diffusion with its image encoder and that one's processor."""
    config = _vision()
    with drawn("ip_adapter.image_encoder", seed=seed):
        CLIPVisionModelWithProjection(config).eval().save_pretrained(folder / "image_encoder")
    _processor().save_pretrained(folder / "feature_extractor")
    with drawn("ip_adapter", seed=seed):
        weights = {
            "image_proj.proj.weight": torch.randn(_IMAGE_TOKENS * WIDTH, config.projection_dim),
            "image_proj.proj.bias": torch.randn(_IMAGE_TOKENS * WIDTH),
            "image_proj.norm.weight": torch.ones(WIDTH),
            "image_proj.norm.bias": torch.zeros(WIDTH),
        }
        readers = [layer for name, layer in sd_unet(seed=seed).named_modules() if name.endswith("attn2")]
        for place, layer in enumerate(readers):  # the format counts self-attentions too: text is read by the odd ones
            for end in ("k", "v"):
                shape = getattr(layer, f"to_{end}").weight.shape
                weights[f"ip_adapter.{2 * place + 1}.to_{end}_ip.weight"] = torch.randn(shape) / WIDTH**0.5
    _save_file(folder, weights, name="ip_adapter.safetensors")
    return folder


def build_tiny_checker(folder: Path, *, seed: int = 0) -> Path:
    """Save a safety checker that flags nothing, with its processor."""
    return _save_checker(folder, threshold=2.0, seed=seed)


def build_tiny_checker_strict(folder: Path, *, seed: int = 0) -> Path:
    """Save a safety checker that flags everything, with its processor."""
    return _save_checker(folder, threshold=-2.0, seed=seed)


def _save_controlnet(folder: Path, unet: UNet2DConditionModel, *, name: str, seed: int) -> Path:
    with drawn(name, seed=seed):
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32)).eval()
        for layer in (net.controlnet_cond_embedding.conv_out, *net.controlnet_down_blocks, net.controlnet_mid_block):
            nn.init.normal_(layer.weight, std=0.2)  # an untrained one starts at nought and changes nothing
    net.save_pretrained(folder)
    return folder


def _save_checker(folder: Path, *, threshold: float, seed: int) -> Path:
    """A cosine never reaches 2 and never falls to -2."""
    config = CLIPConfig(vision_config=_vision().to_dict(), projection_dim=WIDTH)
    with drawn("checker", seed=seed):
        checker = StableDiffusionSafetyChecker(config).eval()
    nn.init.constant_(checker.concept_embeds_weights, threshold)
    nn.init.constant_(checker.special_care_embeds_weights, 2.0)
    checker.save_pretrained(folder)
    _processor().save_pretrained(folder)
    return folder


def _vision() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE,
        patch_size=8, projection_dim=WIDTH,
    )  # fmt: skip


def _processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def _save_file(folder: Path, weights: dict[str, torch.Tensor], *, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / name, metadata={"format": "pt"})
    return folder / name
