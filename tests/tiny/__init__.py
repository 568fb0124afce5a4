"""Diffusion models of a few megabytes with random weights, built offline, for tests of the real renderer.

Equal seeds give equal files. A builder returns what a job would name as the model's source: the folder, or the
file where the model is one file.
"""

from collections.abc import Callable
from pathlib import Path

from tiny.addons import (
    TOKEN,
    build_tiny_checker,
    build_tiny_checker_strict,
    build_tiny_controlnet,
    build_tiny_controlnet_xl,
    build_tiny_embedding,
    build_tiny_embedding_xl,
    build_tiny_ip_adapter,
    build_tiny_vae,
)
from tiny.damage import spoil
from tiny.flow import (
    build_tiny_flux,
    build_tiny_flux_schnell,
    build_tiny_qwen,
    build_tiny_sd3,
    build_tiny_sd3_without_t5,
    build_tiny_z_image,
)
from tiny.lora import build_tiny_lora, build_tiny_lora_kohya, build_tiny_lora_xl
from tiny.parts import SIDE
from tiny.sd import build_tiny, build_tiny_ddpm, build_tiny_depth, build_tiny_inpaint, build_tiny_v
from tiny.single import build_tiny_single_file
from tiny.tokens import WORDS
from tiny.xl import build_tiny_refiner, build_tiny_xl, build_tiny_xl_inpaint

PIPELINES: dict[str, Callable[[Path], Path]] = {
    "sd": build_tiny,
    "sd_v": build_tiny_v,
    "sd_inpaint": build_tiny_inpaint,
    "sd_depth": build_tiny_depth,
    "sdxl": build_tiny_xl,
    "sdxl_inpaint": build_tiny_xl_inpaint,
    "refiner": build_tiny_refiner,
    "sd3": build_tiny_sd3,
    "sd3_without_t5": build_tiny_sd3_without_t5,
    "flux": build_tiny_flux,
    "flux_schnell": build_tiny_flux_schnell,
    "qwen": build_tiny_qwen,
    "z_image": build_tiny_z_image,
    "ddpm": build_tiny_ddpm,
}
PARTS: dict[str, Callable[[Path], Path]] = {
    "controlnet": build_tiny_controlnet,
    "controlnet_xl": build_tiny_controlnet_xl,
    "lora": build_tiny_lora,
    "lora_xl": build_tiny_lora_xl,
    "lora_kohya": build_tiny_lora_kohya,
    "embedding": build_tiny_embedding,
    "embedding_xl": build_tiny_embedding_xl,
    "vae": build_tiny_vae,
    "ip_adapter": build_tiny_ip_adapter,
    "checker": build_tiny_checker,
    "checker_strict": build_tiny_checker_strict,
    "single_file": build_tiny_single_file,
}
BUILDERS = {**PIPELINES, **PARTS}

__all__ = ["BUILDERS", "PARTS", "PIPELINES", "SIDE", "TOKEN", "WORDS", "build_tiny", "build_tiny_xl", "spoil"]
