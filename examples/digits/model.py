"""The parts of a small Stable Diffusion: tokenizer, text encoder, UNet, VAE.

Every part is built from its configuration alone, so training needs no download. The
sizes are picked to keep the folder under 8 MB and one training step on two CPU cores
under half a second.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .data import SIDE
from .words import WORDS

VAE_FACTOR = 8  # pixels per latent
TOKENS = 24  # longest prompt, with its two special tokens
TEXT_WIDTH = 96
START, END = "<|startoftext|>", "<|endoftext|>"


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins for bytes that byte-level BPE uses (Radford et al. 2019)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(rest))]


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer in which every word of ours is one token, any other falls to bytes."""
    symbols = _byte_symbols()
    entries = dict.fromkeys([*symbols, *(s + "</w>" for s in symbols)])
    merges: dict[tuple[str, str], None] = {}
    for word in sorted(WORDS, key=len, reverse=True):  # else "re" of "red" would cut "green"
        parts = [*word[:-1], word[-1] + "</w>"]
        left = parts[0]
        for right in parts[1:]:
            merges[(left, right)] = None
            left += right
            entries[left] = None
    vocab = {entry: index for index, entry in enumerate([*entries, START, END])}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=list(merges), model_max_length=TOKENS)
    for word in WORDS:
        if len(tokenizer(word).input_ids) != 3:
            raise ValueError(f"{word!r}: splits into pieces; another word's merges stand in its way")
    return tokenizer


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers, width 96: 0.2 M parameters."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet() -> UNet2DConditionModel:
    """Two levels (8 x 8 and 4 x 4 latents), text seen on both: 2.8 M parameters."""
    return UNet2DConditionModel(
        sample_size=SIDE // VAE_FACTOR,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_vae() -> AutoencoderKL:
    """64 x 64 x 3 to 8 x 8 x 4. One norm group: one channel per group cannot hold a flat colour."""
    return AutoencoderKL(
        sample_size=SIDE,
        latent_channels=4,
        block_out_channels=(8, 16, 32, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=1,
    )


def build_scheduler() -> DDIMScheduler:
    """The noise levels of Stable Diffusion up to a longer tail, predicting velocity."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def assemble(
    *, vae: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Join trained parts to a pipeline that renders."""
    return StableDiffusionPipeline(
        vae=vae.eval(),
        unet=unet.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save(pipeline: StableDiffusionPipeline, folder: Path) -> int:
    """Write a pipeline that loads without a dtype; return its size in bytes.

    diffusers loads UNet and VAE as float32 whatever they were saved in, so half the bytes do.
    transformers keeps the saved type: the text encoder stays float32.
    """
    pipeline.unet.to(torch.float16)
    pipeline.vae.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    pipeline.unet.float()
    pipeline.vae.float()
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
