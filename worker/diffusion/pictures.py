"""Input images brought to the size and the mode that a pipeline takes.

Done here and not by the pipelines: they would stretch, each in its own way, and a batch has one shape. What is not
there is black everywhere: under transparent pixels, and beside a padded picture; a mask keeps what is black.
"""

from typing import Final, Literal

import numpy
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

Resize = Literal["crop", "pad", "stretch"]
_FILTER: Final = Image.Resampling.LANCZOS  # that of diffusers' VaeImageProcessor


class EmptyMask(ValueError):
    """A mask without any white where its crop is to be repainted: there is no crop."""


class FlatDepth(ValueError):
    """A depth map without any depth: scaled to its own range, as pipelines do, it would be NaN."""


def as_rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB of the same size; transparent pixels go to black, 16-bit grey is divided by 257."""
    if picture.mode == "RGBA":
        ground = Image.new("RGBA", picture.size, "black")
        return Image.alpha_composite(ground, picture).convert("RGB")
    if picture.mode == "I;16":
        grey = (numpy.asarray(picture, dtype=numpy.float32) / 257).round().astype(numpy.uint8)
        return Image.fromarray(grey).convert("RGB")
    return picture.convert("RGB")


def fit(picture: Image.Image, *, width: int, height: int, resize: Resize) -> Image.Image:
    """An 8-bit RGB picture of exactly that size.

    Args:
        picture: As `storage.pictures.decode` gives it.
        width: Pixels.
        height: Pixels.
        resize: "crop" covers the size and cuts what stands over, evenly on both sides; "pad" fits the whole picture
            in and leaves black on both sides; "stretch" gives up the proportions. Equal sizes change no pixel.
    """
    return _placed(as_rgb(picture), (width, height), resize)


def fit_mask(
    picture: Image.Image, *, width: int, height: int, resize: Resize, invert: bool = False, blur: int = 0
) -> Image.Image:
    """A mask of exactly that size, mode "L": white is repainted, black is kept.

    The luminance counts, not the transparency. It is not made black and white here: the pipelines' mask processor
    does that, at one half, and pasting a repainted crop back needs the soft edge.

    Args:
        picture: As `storage.pictures.decode` gives it.
        width: Pixels.
        height: Pixels.
        resize: As in `fit`; what is padded is kept, inverted or not.
        invert: Repaint what is black instead.
        blur: Radius in pixels of the finished size, as VaeImageProcessor.blur takes it; 0: none.
    """
    mask = picture if picture.mode == "L" else as_rgb(picture)
    placed = _placed(ImageOps.invert(mask) if invert else mask, (width, height), resize).convert("L")
    return placed.filter(ImageFilter.GaussianBlur(blur)) if blur else placed


def fit_depth(picture: Image.Image, *, width: int, height: int, resize: Resize) -> Tensor:
    """A depth map of exactly that size: float32 in [0, 1], (1, height, width), white as in the file.

    16-bit grey keeps its 16 bits. The pipeline scales it to its own range.

    Raises:
        FlatDepth: Every pixel is the same.
    """
    if picture.mode == "I;16":
        values = numpy.asarray(picture, dtype=numpy.float32) / 65535
    else:
        grey = picture if picture.mode == "L" else as_rgb(picture).convert("L")
        values = numpy.asarray(grey, dtype=numpy.float32) / 255
    placed = numpy.array(_placed(Image.fromarray(values), (width, height), resize))
    depth = torch.from_numpy(placed).clamp(float(values.min()), float(values.max())).unsqueeze(0)
    if bool(depth.min() == depth.max()):
        raise FlatDepth("the depth map has one value everywhere; leave it out to have depth estimated")
    return depth


def _placed(picture: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    if resize == "stretch" or picture.size == size:
        return picture.resize(size, _FILTER)
    if resize == "crop":
        return picture.resize(size, _FILTER, box=_middle(picture.size, size))
    scale = min(size[0] / picture.width, size[1] / picture.height)
    width = min(size[0], max(1, round(picture.width * scale)))
    height = min(size[1], max(1, round(picture.height * scale)))
    padded = Image.new(picture.mode, size)  # black
    padded.paste(picture.resize((width, height), _FILTER), ((size[0] - width) // 2, (size[1] - height) // 2))
    return padded


def _middle(given: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box of the wanted proportions in the middle of a picture."""
    scale = max(size[0] / given[0], size[1] / given[1])
    width, height = min(given[0], size[0] / scale), min(given[1], size[1] / scale)
    left, top = (given[0] - width) / 2, (given[1] - height) / 2
    return left, top, min(given[0], left + width), min(given[1], top + height)
