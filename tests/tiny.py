"""Stable Diffusion pipelines of a few megabytes with random weights, built offline, for tests of the real renderer."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WORDS = ("a", "red", "blue", "cat", "fox", "dog", "owl")
SIDE = 32  # pixels


def build_tiny(folder: Path, *, seed: int = 0) -> Path:
    """Save a tiny Stable Diffusion pipeline for pictures of 32 x 32; equal seeds give equal files."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    text = _text_config(tokenizer)
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=8,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        vae=_vae(), text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def build_tiny_xl(folder: Path, *, seed: int = 0) -> Path:
    """Save a tiny Stable Diffusion XL pipeline for pictures of 32 x 32."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    text = _text_config(tokenizer)
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64, attention_head_dim=8, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )  # fmt: skip
    pipe = StableDiffusionXLPipeline(
        vae=_vae(), text_encoder=CLIPTextModel(text), text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer, tokenizer_2=tokenizer, unet=unet, add_watermarker=False,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1),
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def spoil(folder: Path) -> None:
    """Make the VAE of a saved pipeline give NaN."""
    from safetensors.torch import load_file, save_file

    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights: dict[str, Any] = load_file(file)
    name = next(name for name in weights if name.startswith("decoder.conv_out"))
    save_file({**weights, name: torch.full_like(weights[name], float("nan"))}, file, metadata={"format": "pt"})


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=32, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=8, sample_size=SIDE,
    )  # fmt: skip


def _tokenizer() -> CLIPTokenizer:
    """CLIP's scheme with a vocabulary of single bytes and a few whole words."""
    symbols = [chr(code) for code in range(33, 127)]
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                vocabulary.append("".join(pair))
            parts[:2] = ["".join(pair)]
    vocabulary = [*dict.fromkeys(vocabulary), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={symbol: place for place, symbol in enumerate(vocabulary)}, merges=merges, model_max_length=77
    )
