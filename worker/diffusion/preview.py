"""What a picture looks like before it is done, without the VAE.

Latents of every image VAE in use are close to a small picture: a linear map from their channels to RGB shows it. The
map is fitted to the VAE at hand by least squares over a few random latents, so that no table of known models is
needed.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

_SAMPLES: Final = 4
_SIDE: Final = 16  # latents
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class LatentMap:
    """RGB in [0, 255] = latents x weights; the last row of the weights is the offset."""

    weights: Tensor  # (channels + 1, 3), float32 on the CPU

    def pictures(self, latents: Tensor) -> list[Image.Image]:
        """One small picture for each sample of (n, channels, height, width), one pixel a latent."""
        flat = latents.detach().to("cpu", torch.float32).permute(0, 2, 3, 1)
        colours = flat @ self.weights[:-1] + self.weights[-1]
        frames = colours.nan_to_num(0).clamp(0, 255).round().to(torch.uint8).numpy()
        return [Image.fromarray(frame) for frame in frames]


@torch.inference_mode()
def fit(vae: Any) -> LatentMap:
    """Fit the map of a VAE: decode random latents, average each patch of pixels, solve.

    A VAE that overflows in half precision (`force_upcast`) is decoded in float32 meanwhile.
    """
    config = vae.config
    upcast = bool(getattr(config, "force_upcast", False)) and vae.dtype == torch.float16
    dtype, device = vae.dtype, vae.device
    draw = torch.Generator().manual_seed(_SEED)
    latents = torch.randn((_SAMPLES, config.latent_channels, _SIDE, _SIDE), generator=draw)
    if upcast:
        vae.to(dtype=torch.float32)
    try:
        scaled = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
        pixels = vae.decode(scaled.to(device, vae.dtype), return_dict=False)[0]
    finally:
        if upcast:
            vae.to(dtype=dtype)
    pixels = pixels.to("cpu", torch.float32).nan_to_num(0).clamp(-1, 1)
    pooled = torch.nn.functional.adaptive_avg_pool2d(pixels, _SIDE)
    wanted = ((pooled + 1) * 127.5).permute(0, 2, 3, 1).reshape(-1, 3)
    flat = latents.permute(0, 2, 3, 1).reshape(-1, config.latent_channels)
    known = torch.cat([flat, torch.ones(len(flat), 1)], dim=1)
    return LatentMap(torch.linalg.lstsq(known, wanted).solution)
