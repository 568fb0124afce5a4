"""What a picture looks like before it is done, without the VAE.

Latents of every image VAE in use are close to a small picture: a linear map from their channels to RGB shows it. The
map is fitted to the VAE at hand by least squares over a few random latents, so that no table of known models is
needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from worker.faults import is_of_device

MAX_SIDE: Final = 256  # pixels of a decoded preview
_SAMPLES: Final = 4
_SIDE: Final = 16  # latents
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class LatentMap:
    """RGB in [0, 255] = latents x weights; the last row of the weights is the offset."""

    weights: Tensor  # (channels + 1, 3), float32

    def frames(self, latents: Tensor) -> Tensor:
        """One small picture for each sample of (n, channels, height, width), one pixel a latent."""
        weights = self.weights.to(latents.device, non_blocking=True)
        flat = latents.detach().to(torch.float32).permute(0, 2, 3, 1)
        return _bytes(flat @ weights[:-1] + weights[-1])


def frames(pipe: Any, map_of: Callable[[Any], LatentMap], latents: Tensor, *, size: tuple[int, int]) -> Tensor:
    """What a pipeline's latents look like now.

    Args:
        pipe: That made them.
        map_of: Gives the map of a VAE.
        latents: As the pipeline keeps them: (n, channels, height, width), with a time axis of one, or packed 2 x 2 into
            a row of tokens, as Flux and Qwen-Image do.
        size: Height and width of the finished picture in pixels.

    Returns:
        Bytes on the device, (n, height, width, 3): nothing has waited for the device yet.
    """
    if getattr(pipe, "vae", None) is None:
        return _colours(latents)
    return map_of(pipe.vae).frames(_spread(pipe, latents, size)[:, : channels_of(pipe.vae)])


def decoded_frames(tiny: Any, pipe: Any, latents: Tensor, *, size: tuple[int, int]) -> Tensor:
    """What a pipeline's latents look like to a tiny VAE (TAESD), which takes them as the denoiser sees them.

    Returns:
        As `frames`, at most MAX_SIDE pixels a side: those of a whole batch wait on the device.
    """
    pixels = tiny.decode(_spread(pipe, latents, size).to(tiny.dtype), return_dict=False)[0]
    shrink = max(pixels.shape[-2:]) // MAX_SIDE
    return _colours(torch.nn.functional.avg_pool2d(pixels, shrink) if shrink > 1 else pixels)


def pictures(frames: Tensor) -> list[Image.Image]:
    """Pictures of a batch's frames. Waits for the device."""
    return [Image.fromarray(frame) for frame in frames.to("cpu").numpy()]


def _spread(pipe: Any, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """Latents as (n, channels, height, width), however a pipeline keeps them."""
    if latents.ndim == 3:
        latents = pipe._unpack_latents(latents, *size, pipe.vae_scale_factor)
    return latents[:, :, 0] if latents.ndim == 5 else latents


def channels_of(vae: Any) -> int:
    """Channels of a VAE's latents."""
    return int(getattr(vae.config, "latent_channels", None) or vae.config.z_dim)


def _colours(pixels: Tensor) -> Tensor:
    """Bytes of pixels in [-1, 1], (n, 1 or 3, height, width)."""
    return _bytes((pixels.detach().to(torch.float32).expand(-1, 3, -1, -1).permute(0, 2, 3, 1) + 1) * 127.5)


def _bytes(colours: Tensor) -> Tensor:
    return colours.nan_to_num(0).clamp(0, 255).round().to(torch.uint8)


@torch.inference_mode()
def fit(vae: Any) -> LatentMap:
    """Fit the map of a VAE: decode random latents, average each patch of pixels, solve.

    A VAE that overflows in half precision (`force_upcast`) is decoded in float32 meanwhile.
    """
    config, count = vae.config, channels_of(vae)
    upcast = bool(getattr(config, "force_upcast", False)) and vae.dtype == torch.float16
    dtype, device = vae.dtype, vae.device
    draw = torch.Generator().manual_seed(_SEED)
    latents = torch.randn((_SAMPLES, count, _SIDE, _SIDE), generator=draw)
    if upcast:
        vae.to(dtype=torch.float32)
    try:
        pixels = _decoded(vae, _unscaled(latents, config).to(device, vae.dtype))
    finally:
        if upcast:
            vae.to(dtype=dtype)
    pixels = pixels.to("cpu", torch.float32).nan_to_num(0).clamp(-1, 1)
    pooled = torch.nn.functional.adaptive_avg_pool2d(pixels, _SIDE)
    wanted = ((pooled + 1) * 127.5).permute(0, 2, 3, 1).reshape(-1, 3)
    flat = latents.permute(0, 2, 3, 1).reshape(-1, count)
    known = torch.cat([flat, torch.ones(len(flat), 1)], dim=1)
    return LatentMap(torch.linalg.lstsq(known, wanted).solution)


def _unscaled(latents: Tensor, config: Any) -> Tensor:
    """From what a denoiser sees to what the VAE takes; some families have one mean and deviation a channel."""
    if getattr(config, "latents_mean", None) and getattr(config, "latents_std", None):
        mean, deviation = (
            torch.tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std)
        )
        return latents * deviation + mean
    scaled: Tensor = latents / (getattr(config, "scaling_factor", None) or 1.0)
    return scaled + (getattr(config, "shift_factor", None) or 0.0)


def _decoded(vae: Any, latents: Tensor) -> Tensor:
    """Pixels in [-1, 1], (n, 3, height, width); a VAE for video gets its one frame and gives it back."""
    try:
        pixels: Tensor = vae.decode(latents, return_dict=False)[0]
    except (ValueError, IndexError, RuntimeError) as error:
        if is_of_device(error):
            raise
        pixels = vae.decode(latents.unsqueeze(2), return_dict=False)[0]
    return pixels[:, :, 0] if pixels.ndim == 5 else pixels
