"""From a picture file to the pixels that count: RGB, without whatever else the file says."""

import hashlib
import math
from typing import TYPE_CHECKING

from storage.pictures import decode

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 8192 * 8192  # the largest picture that a job may ask for


def read_rgb(data: bytes) -> "Image":
    """The picture of a file's bytes. Raises NotAPicture."""
    picture = decode(data, max_pixels=MAX_PIXELS)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def pixel_hash(picture: "Image") -> str:
    """SHA-256 over "WxH:" and the RGB bytes, as workers record it."""
    return hashlib.sha256(f"{picture.width}x{picture.height}:".encode() + picture.tobytes()).hexdigest()


def psnr(one: "Image", other: "Image") -> float | None:
    """Peak signal-to-noise ratio in dB over all channels: infinite for equal pixels, None for unequal sizes."""
    import numpy as np

    if one.size != other.size:
        return None
    error = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    mean = float(np.mean(np.square(error)))
    return math.inf if mean == 0 else 10 * math.log10(255**2 / mean)
