"""Stable Diffusion XL pipelines for pictures of 32 x 32; base and refiner of one seed have parts of equal bytes."""

from pathlib import Path
from typing import Any

from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from tiny.parts import WIDTH, clip_text, clip_text_projected, unet, vae
from tiny.tokens import clip_tokenizer

_TIME_WIDTH = 8  # of one size or score


def xl_unet(*, seed: int, channels: int = 4) -> UNet2DConditionModel:
    """The UNet of the base that reads `channels` channels."""
    return _unet(f"xl.unet.{channels}", seed=seed, channels=channels, cross=2 * WIDTH, numbers=6)


def build_tiny_xl(folder: Path, *, seed: int = 0) -> Path:
    """Save a pipeline."""
    StableDiffusionXLPipeline(**_base(seed), add_watermarker=False).save_pretrained(folder)
    return folder


def build_tiny_xl_inpaint(folder: Path, *, seed: int = 0) -> Path:
    """Save one whose UNet reads the mask and the masked picture: nine channels."""
    StableDiffusionXLInpaintPipeline(**_base(seed, channels=9), add_watermarker=False).save_pretrained(folder)
    return folder


def build_tiny_refiner(folder: Path, *, seed: int = 0) -> Path:
    """Save a refiner: one text encoder, five numbers of size and score."""
    StableDiffusionXLImg2ImgPipeline(
        **_shared(seed), text_encoder=None, tokenizer=None, requires_aesthetics_score=True, add_watermarker=False,
        unet=_unet("xl.refiner", seed=seed, cross=WIDTH, numbers=5),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _shared(seed: int) -> dict[str, Any]:
    """What a base and its refiner have alike."""
    return {
        "vae": vae("xl.vae", seed=seed),
        "text_encoder_2": clip_text_projected("xl.text_encoder_2", seed=seed),
        "tokenizer_2": clip_tokenizer(),
        "scheduler": EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1),
    }


def _base(seed: int, *, channels: int = 4) -> dict[str, Any]:
    return {
        **_shared(seed),
        "text_encoder": clip_text("xl.text_encoder", seed=seed),
        "tokenizer": clip_tokenizer(),
        "unet": xl_unet(seed=seed, channels=channels),
    }


def _unet(name: str, *, seed: int, cross: int, numbers: int, channels: int = 4) -> UNet2DConditionModel:
    return unet(
        name, seed=seed, channels=channels, cross=cross, addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_WIDTH, projection_class_embeddings_input_dim=numbers * _TIME_WIDTH + WIDTH,
    )  # fmt: skip
