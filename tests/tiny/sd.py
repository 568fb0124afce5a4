"""Stable Diffusion pipelines of every kind for pictures of 32 x 32; equal seeds give equal files."""

from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from tiny.parts import SIDE, clip_text, drawn, unet, vae
from tiny.tokens import clip_tokenizer

_UNCHECKED = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def sd_unet(*, seed: int, channels: int = 4) -> UNet2DConditionModel:
    """The UNet of the pipeline that reads `channels` channels."""
    return unet(f"sd.unet.{channels}", seed=seed, channels=channels)


def sd_vae(*, seed: int) -> AutoencoderKL:
    """The VAE of all of them."""
    return vae("sd.vae", seed=seed)


def build_tiny(folder: Path, *, seed: int = 0) -> Path:
    """Save a Stable Diffusion pipeline."""
    StableDiffusionPipeline(**_parts(seed), **_UNCHECKED).save_pretrained(folder)
    return folder


def build_tiny_v(folder: Path, *, seed: int = 0) -> Path:
    """Save one that predicts v, as Stable Diffusion 2 does."""
    parts = {**_parts(seed), "scheduler": _scheduler(prediction_type="v_prediction")}
    StableDiffusionPipeline(**parts, **_UNCHECKED).save_pretrained(folder)
    return folder


def build_tiny_inpaint(folder: Path, *, seed: int = 0) -> Path:
    """Save one whose UNet reads the mask and the masked picture: nine channels."""
    StableDiffusionInpaintPipeline(**_parts(seed, channels=9), **_UNCHECKED).save_pretrained(folder)
    return folder


def build_tiny_depth(folder: Path, *, seed: int = 0) -> Path:
    """Save one whose UNet reads a depth map, with an estimator of depth: five channels."""
    config = DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64, image_size=SIDE, patch_size=8,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 32, 32], fusion_hidden_size=16, is_hybrid=False,
        initializer_range=0.2,
    )  # fmt: skip
    with drawn("sd.depth", seed=seed):
        estimator = DPTForDepthEstimation(config).eval()
    StableDiffusionDepth2ImgPipeline(
        **_parts(seed, channels=5), depth_estimator=estimator,
        feature_extractor=DPTImageProcessor(size={"height": SIDE, "width": SIDE}),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def build_tiny_ddpm(folder: Path, *, seed: int = 0) -> Path:
    """Save a pipeline that reads no text."""
    with drawn("ddpm.unet", seed=seed):
        net = UNet2DModel(
            sample_size=SIDE, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ).eval()  # fmt: skip
    DDPMPipeline(unet=net, scheduler=DDPMScheduler()).save_pretrained(folder)
    return folder


def _parts(seed: int, *, channels: int = 4) -> dict[str, Any]:
    """What all of them share; only the UNet depends on the channels that it reads."""
    return {
        "vae": sd_vae(seed=seed),
        "text_encoder": clip_text("sd.text_encoder", seed=seed),
        "tokenizer": clip_tokenizer(),
        "unet": sd_unet(seed=seed, channels=channels),
        "scheduler": _scheduler(),
    }


def _scheduler(**options: Any) -> DDIMScheduler:
    return DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1, **options)
