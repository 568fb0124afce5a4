"""What is to be seen in a picture, and the strip of its previews."""

import io
from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageStat

STRIP_TYPE: Final = "image/jpeg"
BLANK: Final = "blank"
LOW_VARIANCE: Final = "low_variance"
_FLAT: Final = 3.0  # of 255, standard deviation in each channel: fog to an eye
_STRIP_QUALITY: Final = 80


def judge(picture: Image.Image) -> str | None:
    """Whether there is nothing to see: BLANK for one single colour, LOW_VARIANCE for hardly more, else None."""
    if all(low == high for low, high in picture.getextrema()):  # type: ignore[misc]  # RGB has pairs
        return BLANK
    return LOW_VARIANCE if max(ImageStat.Stat(picture).stddev) < _FLAT else None


def encode_strip(frames: Sequence[Image.Image]) -> bytes:
    """The previews of one image side by side, as one JPEG."""
    strip = Image.new("RGB", (sum(frame.width for frame in frames), max(frame.height for frame in frames)))
    left = 0
    for frame in frames:
        strip.paste(frame, (left, 0))
        left += frame.width
    data = io.BytesIO()
    strip.save(data, "JPEG", quality=_STRIP_QUALITY)
    return data.getvalue()
