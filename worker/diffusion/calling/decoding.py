"""From latents to pixels, with a guard: what a half-precision VAE gives when it overflows is caught on the tensor.

After the picture is made of bytes it is too late: NaN becomes black. So the VAE's own `decode` is watched, and tries
once more in float32 where its output is not finite.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from worker.renderer import Flaw

Sample = Tensor | Image.Image
NON_FINITE = Flaw("non_finite", "the picture holds NaN or infinite values, with the VAE in float32 too")


@contextmanager
def guarded(vae: Any) -> Iterator[list[bool]]:
    """Watch a VAE while a pipeline decodes with it.

    Yields:
        A list that grows by one entry for each sample decoded: whether all of its values are finite.
    """
    finite: list[bool] = []
    plain = vae.decode

    def decode(latents: Tensor, *args: Any, **kwargs: Any) -> Any:
        made = plain(latents, *args, **kwargs)
        good = _finite(_tensor(made))
        if not all(good) and vae.dtype != torch.float32:
            again = _tensor(_in_float32(vae, plain, latents, args, kwargs))
            keep = torch.tensor(good, device=again.device).view(-1, *[1] * (again.ndim - 1))
            # Only what overflowed: the others must not change because of their company.
            _tensor(made).copy_(torch.where(keep, _tensor(made), again.to(_tensor(made).dtype)))
            good = _finite(_tensor(made))
        finite.extend(good)
        return made

    vae.decode = decode
    try:
        yield finite
    finally:
        del vae.decode  # the instance's; the class's own shows again


def to_picture(sample: Sample) -> Image.Image:
    """8-bit RGB of one (3, height, width) sample in [0, 1], rounded as diffusers rounds; a finished one as it is."""
    if isinstance(sample, Image.Image):
        return sample.convert("RGB")
    pixels = sample.to("cpu", torch.float32)
    rounded = (pixels.permute(1, 2, 0).numpy() * 255).round().astype("uint8")
    if rounded.shape[2] == 1:
        return Image.fromarray(rounded[:, :, 0]).convert("RGB")
    return Image.fromarray(rounded)


def _in_float32(vae: Any, plain: Any, latents: Tensor, args: Any, kwargs: Any) -> Any:
    dtype = vae.dtype
    vae.to(dtype=torch.float32)
    try:
        return plain(latents.to(torch.float32), *args, **kwargs)
    finally:
        vae.to(dtype=dtype)


def _tensor(made: Any) -> Tensor:
    tensor: Tensor = made.sample if hasattr(made, "sample") else made[0]
    return tensor


def _finite(samples: Tensor) -> list[bool]:
    flat = torch.isfinite(samples).flatten(1).all(dim=1)
    return [bool(good) for good in flat.tolist()]
