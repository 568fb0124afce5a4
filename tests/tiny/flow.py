"""Pipelines of transformers and rectified flow: Stable Diffusion 3, Flux, Qwen-Image, Z-Image; pictures of 32 x 32."""

from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen3Config, Qwen3Model

from tiny.parts import FACTOR, SIDE, WIDTH, clip_text, clip_text_projected, drawn, louder, t5_text, vae
from tiny.tokens import clip_tokenizer, qwen_tokenizer, t5_tokenizer

_LOUD = 1.7  # makes up for what a linear layer's random weights take away
_AXES = (4, 4, 8)  # numbers of a head that tell time or layer, row, column


def build_tiny_sd3(folder: Path, *, seed: int = 0) -> Path:
    """Save a Stable Diffusion 3 pipeline with its T5."""
    parts = {
        "text_encoder_3": t5_text("sd3.text_encoder_3", seed=seed, vectors=2 * WIDTH),
        "tokenizer_3": t5_tokenizer(),
    }
    StableDiffusion3Pipeline(**_sd3(seed), **parts).save_pretrained(folder)
    return folder


def build_tiny_sd3_without_t5(folder: Path, *, seed: int = 0) -> Path:
    """Save one without a T5; some releases of diffusers load it only with `text_encoder_3=None, tokenizer_3=None`."""
    StableDiffusion3Pipeline(**_sd3(seed), text_encoder_3=None, tokenizer_3=None).save_pretrained(folder)
    return folder


def build_tiny_flux(folder: Path, *, seed: int = 0) -> Path:
    """Save a Flux pipeline that reads its guidance, as "dev" does."""
    return _save_flux(folder, seed=seed, guidance=True)


def build_tiny_flux_schnell(folder: Path, *, seed: int = 0) -> Path:
    """Save a Flux pipeline that reads no guidance, as "schnell" does."""
    return _save_flux(folder, seed=seed, guidance=False)


def build_tiny_qwen(folder: Path, *, seed: int = 0) -> Path:
    """Save a Qwen-Image pipeline."""
    with drawn("qwen.transformer", seed=seed):
        transformer = QwenImageTransformer2DModel(
            in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=WIDTH, axes_dims_rope=_AXES,
        ).eval()  # fmt: skip
    louder(transformer, _LOUD)
    louder(transformer, 10, name="attn.add_v_proj")  # text enters nowhere else
    with drawn("qwen.vae", seed=seed):
        latents = AutoencoderKLQwenImage(
            base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ).eval()  # fmt: skip
    QwenImagePipeline(
        vae=latents, text_encoder=_qwen_vl(seed), tokenizer=qwen_tokenizer(), transformer=transformer,
        scheduler=_scheduler(use_dynamic_shifting=True),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def build_tiny_z_image(folder: Path, *, seed: int = 0) -> Path:
    """Save a Z-Image pipeline."""
    with drawn("z_image.transformer", seed=seed):
        transformer = ZImageTransformer2DModel(
            in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=WIDTH,
            axes_dims=list(_AXES), axes_lens=[1024, 64, 64],
        ).eval()  # fmt: skip
    tokenizer = qwen_tokenizer()
    config = Qwen3Config(**_qwen_text(len(tokenizer)), head_dim=8)
    with drawn("z_image.text_encoder", seed=seed):
        encoder = Qwen3Model(config).eval()
    ZImagePipeline(
        vae=_vae("z_image", seed=seed), text_encoder=encoder, tokenizer=tokenizer, transformer=transformer,
        scheduler=_scheduler(shift=3.0),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _sd3(seed: int) -> dict[str, Any]:
    with drawn("sd3.transformer", seed=seed):
        transformer = SD3Transformer2DModel(
            sample_size=SIDE // FACTOR, patch_size=2, in_channels=4, out_channels=4, num_layers=2,
            attention_head_dim=8, num_attention_heads=4, joint_attention_dim=2 * WIDTH, caption_projection_dim=32,
            pooled_projection_dim=2 * WIDTH, pos_embed_max_size=32,
        ).eval()  # fmt: skip
    louder(transformer, _LOUD)
    return {
        "vae": _vae("sd3", seed=seed),
        "text_encoder": clip_text_projected("sd3.text_encoder", seed=seed),
        "text_encoder_2": clip_text_projected("sd3.text_encoder_2", seed=seed),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(),
        "transformer": transformer,
        "scheduler": _scheduler(shift=3.0),
    }


def _save_flux(folder: Path, *, seed: int, guidance: bool) -> Path:
    with drawn(f"flux.transformer.{guidance}", seed=seed):
        transformer = FluxTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=_AXES, guidance_embeds=guidance,
        ).eval()  # fmt: skip
    louder(transformer, _LOUD)
    FluxPipeline(
        vae=_vae("flux", seed=seed), text_encoder=clip_text("flux.text_encoder", seed=seed),
        text_encoder_2=t5_text("flux.text_encoder_2", seed=seed), tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(), transformer=transformer, scheduler=_scheduler(use_dynamic_shifting=guidance),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _qwen_vl(seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """The encoder is a model that could see; the eyes are as small as they get."""
    config = Qwen2_5_VLConfig(
        text_config={
            **_qwen_text(len(qwen_tokenizer())),
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": WIDTH,
            "fullatt_block_indexes": [0],
        },
    )  # fmt: skip
    with drawn("qwen.text_encoder", seed=seed):
        return Qwen2_5_VLForConditionalGeneration(config).eval()


def _qwen_text(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary, "hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2, "max_position_embeddings": 2048,
        "bos_token_id": None, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 3,
    }  # fmt: skip


def _vae(family: str, *, seed: int) -> AutoencoderKL:
    return vae(f"{family}.vae", seed=seed, shift_factor=0.1, scaling_factor=0.5)


def _scheduler(**options: Any) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**options)
