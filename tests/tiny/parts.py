"""The parts that pipelines are put together from, each drawn from a seed and a name of its own.

A part does not depend on which others are built beside it: two pipelines of one seed that name a part alike
have the same bytes there.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from tiny.tokens import clip_tokenizer, t5_tokenizer

SIDE = 32  # pixels
FACTOR = 2  # pixels per latent
WIDTH = 32  # of every text encoder's vectors


@contextmanager
def drawn(name: str, *, seed: int) -> Iterator[None]:
    """Draw what is built inside from `seed` and `name`; torch's own generator stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{name}:{seed}".encode()))
        yield


def louder(part: nn.Module, factor: float, *, name: str = "") -> None:
    """Multiply the weights of the linear layers whose names end so, lest what goes in fades out on the way."""
    with torch.no_grad():
        for path, layer in part.named_modules():
            if isinstance(layer, nn.Linear) and path.endswith(name):
                layer.weight.mul_(factor)


def clip_config() -> CLIPTextConfig:
    """Of a CLIP text encoder that ends in vectors of 32 numbers."""
    tokenizer = clip_tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, projection_dim=WIDTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, initializer_range=0.2,
    )  # fmt: skip


def clip_text(name: str, *, seed: int) -> CLIPTextModel:
    """A CLIP text encoder."""
    with drawn(name, seed=seed):
        return CLIPTextModel(clip_config()).eval()


def clip_text_projected(name: str, *, seed: int) -> CLIPTextModelWithProjection:
    """A CLIP text encoder that gives pooled vectors too."""
    with drawn(name, seed=seed):
        return CLIPTextModelWithProjection(clip_config()).eval()


def t5_text(name: str, *, seed: int, vectors: int = WIDTH) -> T5EncoderModel:
    """The encoder half of a T5 that ends in vectors of 32 numbers, or of `vectors`."""
    config = T5Config(
        vocab_size=len(t5_tokenizer()), d_model=vectors, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    with drawn(name, seed=seed):
        return T5EncoderModel(config).eval()


def vae(name: str, *, seed: int, channels: int = 4, **options: Any) -> AutoencoderKL:
    """A VAE of latents half as wide as the picture, with `channels` channels."""
    with drawn(name, seed=seed):
        return AutoencoderKL(
            block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=channels,
            up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=8, sample_size=SIDE, **options,
        ).eval()  # fmt: skip


def unet(name: str, *, seed: int, channels: int = 4, cross: int = WIDTH, **options: Any) -> UNet2DConditionModel:
    """A UNet that reads `channels` channels and text vectors of `cross` numbers."""
    with drawn(name, seed=seed):
        return UNet2DConditionModel(
            sample_size=SIDE // FACTOR, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), in_channels=channels, cross_attention_dim=cross,
            attention_head_dim=8, **options,
        ).eval()  # fmt: skip
