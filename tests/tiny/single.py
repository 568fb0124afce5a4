"""A checkpoint of one file in the key names of the first Stable Diffusion release, as model sites give them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from tiny.parts import clip_text
from tiny.sd import sd_unet, sd_vae

_Names = Sequence[tuple[str, str]]
_RESNET: _Names = [
    (r"\bnorm1\b", "in_layers.0"), (r"\bconv1\b", "in_layers.2"), (r"\btime_emb_proj\b", "emb_layers.1"),
    (r"\bnorm2\b", "out_layers.0"), (r"\bconv2\b", "out_layers.3"), (r"\bconv_shortcut\b", "skip_connection"),
]  # fmt: skip
# Two levels of one layer: 1 is the first level, 2 the way down, 3 the second; up again likewise from 0.
_UNET: _Names = [
    (r"^time_embedding\.linear_1", "time_embed.0"), (r"^time_embedding\.linear_2", "time_embed.2"),
    (r"^conv_in", "input_blocks.0.0"), (r"^conv_norm_out", "out.0"), (r"^conv_out", "out.2"),
    (r"^down_blocks\.0\.resnets\.0", "input_blocks.1.0"),
    (r"^down_blocks\.0\.downsamplers\.0\.conv", "input_blocks.2.0.op"),
    (r"^down_blocks\.1\.resnets\.0", "input_blocks.3.0"), (r"^down_blocks\.1\.attentions\.0", "input_blocks.3.1"),
    (r"^mid_block\.resnets\.0", "middle_block.0"), (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^mid_block\.resnets\.1", "middle_block.2"),
    (r"^up_blocks\.0\.resnets\.(\d)", r"output_blocks.\1.0"),
    (r"^up_blocks\.0\.attentions\.(\d)", r"output_blocks.\1.1"),
    (r"^up_blocks\.0\.upsamplers\.0", "output_blocks.1.2"),
    (r"^up_blocks\.1\.resnets\.0", "output_blocks.2.0"), (r"^up_blocks\.1\.resnets\.1", "output_blocks.3.0"),
]  # fmt: skip
_VAE: _Names = [
    (r"\bdown_blocks\.(\d)\.resnets", r"down.\1.block"), (r"\bdown_blocks\.0\.downsamplers\.0", "down.0.downsample"),
    (r"\bup_blocks\.0\.resnets", "up.1.block"), (r"\bup_blocks\.1\.resnets", "up.0.block"),
    (r"\bup_blocks\.0\.upsamplers\.0", "up.1.upsample"),
    (r"\bmid_block\.resnets\.0", "mid.block_1"), (r"\bmid_block\.resnets\.1", "mid.block_2"),
    (r"\bmid_block\.attentions\.0", "mid.attn_1"), (r"\bgroup_norm\b", "norm"), (r"\bto_out\.0\b", "proj_out"),
    (r"\bto_([qkv])\b", r"\1"), (r"\bconv_norm_out\b", "norm_out"), (r"\bconv_shortcut\b", "nin_shortcut"),
]  # fmt: skip


def build_tiny_single_file(folder: Path, *, seed: int = 0) -> Path:
    """Save the weights of `build_tiny` of the same seed in one file; returns the file.

    diffusers loads it with `config=` the folder of a `build_tiny`: no file says its sizes.
    """
    text = clip_text("sd.text_encoder", seed=seed).state_dict()
    weights = {
        **_renamed(sd_unet(seed=seed).state_dict(), _UNET, prefix="model.diffusion_model."),
        **_renamed(sd_vae(seed=seed).state_dict(), _VAE, prefix="first_stage_model."),
        **{f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": text[name] for name in text},
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


def _renamed(weights: Mapping[str, Tensor], names: _Names, *, prefix: str) -> dict[str, Tensor]:
    return {prefix + _rename(name, names): weight for name, weight in weights.items()}


def _rename(name: str, names: _Names) -> str:
    if names is _UNET and "resnets" in name:
        names = [*_RESNET, *names]
    for pattern, new in names:
        name = re.sub(pattern, new, name)
    return name
