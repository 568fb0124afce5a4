"""Pictures, masks and depth maps at the size of the job."""

import numpy
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from input_pictures import CORNERS, corners, photograph, quarters
from worker.diffusion.pictures import FlatDepth, as_rgb, fit, fit_depth, fit_mask

RESIZES = ("crop", "pad", "stretch")
given_sides = st.integers(1, 90)
wanted_sides = st.integers(1, 12).map(lambda step: 8 * step)
resizes = st.sampled_from(RESIZES)
modes = st.sampled_from(["L", "RGB", "RGBA", "I;16"])


def grey(values: list[list[int]]) -> Image.Image:
    return Image.fromarray(numpy.array(values, dtype=numpy.uint8))


def inside(picture: Image.Image) -> tuple[int, int, int, int]:
    """The box of what is not black."""
    box = picture.getbbox()
    assert box is not None
    return box


@given(mode=modes, sides=st.tuples(given_sides, given_sides), width=wanted_sides, height=wanted_sides, resize=resizes)
def test_everything_has_the_size_of_the_job(
    mode: str, sides: tuple[int, int], width: int, height: int, resize: str
) -> None:
    picture = Image.new(mode, sides)
    size = {"width": width, "height": height, "resize": resize}

    fitted, mask = fit(picture, **size), fit_mask(picture, **size, invert=True, blur=3)  # type: ignore[arg-type]

    assert (fitted.mode, fitted.size) == ("RGB", (width, height))
    assert (mask.mode, mask.size) == ("L", (width, height))


@given(sides=st.tuples(given_sides, given_sides), width=wanted_sides, height=wanted_sides)
def test_a_crop_covers_and_a_padded_picture_is_whole(sides: tuple[int, int], width: int, height: int) -> None:
    white = Image.new("RGB", sides, "white")

    cropped = fit(white, width=width, height=height, resize="crop")
    padded = fit(white, width=width, height=height, resize="pad")

    left, top, right, bottom = inside(padded)
    assert cropped.getextrema() == ((255, 255),) * 3
    assert right - left == width or bottom - top == height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    scale = min(width / sides[0], height / sides[1])
    assert abs(right - left - max(1, sides[0] * scale)) <= 0.5
    assert abs(bottom - top - max(1, sides[1] * scale)) <= 0.5


@pytest.mark.parametrize("resize", RESIZES)
def test_a_picture_that_has_the_size_keeps_every_pixel(resize: str) -> None:
    picture = photograph((64, 40))

    fitted = fit(picture, width=64, height=40, resize=resize)  # type: ignore[arg-type]

    assert ImageChops.difference(fitted, picture).getbbox() is None


def test_a_crop_takes_the_middle() -> None:
    picture = Image.new("RGB", (90, 30), "black")
    picture.paste("white", (30, 0, 60, 30))

    cropped = fit(picture, width=32, height=32, resize="crop")

    assert min(low for low, _ in cropped.getextrema()) > 200  # type: ignore[misc]  # edges ring a little


@pytest.mark.parametrize("resize", RESIZES)
def test_nothing_is_mirrored(resize: str) -> None:
    fitted = fit(quarters(), width=96, height=64, resize=resize)  # type: ignore[arg-type]

    assert corners(fitted) == list(CORNERS)


def test_what_is_transparent_is_black_and_what_is_half_transparent_half_black() -> None:
    picture = Image.new("RGBA", (3, 1), (200, 100, 50, 0))
    picture.putpixel((1, 0), (200, 100, 50, 255))
    picture.putpixel((2, 0), (200, 100, 50, 128))

    seen = as_rgb(picture)

    assert [seen.getpixel((column, 0)) for column in range(3)] == [(0, 0, 0), (200, 100, 50), (100, 50, 25)]


def test_sixteen_bits_become_eight_without_clipping() -> None:
    picture = Image.fromarray(numpy.array([[0, 256, 257, 32_768, 65_535]], dtype=numpy.uint16))

    seen = as_rgb(picture)

    assert [seen.getpixel((column, 0)) for column in range(5)] == [(v, v, v) for v in (0, 1, 1, 128, 255)]


masks = st.lists(st.lists(st.integers(0, 255), min_size=16, max_size=16), min_size=16, max_size=16).map(grey)
processor = VaeImageProcessor(vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True)


@given(mask=masks, blur=st.integers(0, 6))
def test_a_stretched_mask_is_the_one_that_diffusers_makes(mask: Image.Image, blur: int) -> None:
    fitted = fit_mask(mask, width=24, height=32, resize="stretch", blur=0)
    blurred = fit_mask(mask, width=16, height=16, resize="stretch", blur=blur)

    assert torch.equal(processor.preprocess(fitted), processor.preprocess(mask, height=32, width=24))
    theirs = processor.blur(mask, blur_factor=blur) if blur else mask
    assert torch.equal(processor.preprocess(blurred), processor.preprocess(theirs))


def test_a_coloured_mask_is_the_one_that_diffusers_makes() -> None:
    mask = photograph((64, 48))

    fitted = fit_mask(mask, width=40, height=40, resize="stretch")

    assert torch.equal(processor.preprocess(fitted), processor.preprocess(mask, height=40, width=40))


def test_half_is_the_border_between_kept_and_repainted() -> None:
    mask = fit_mask(grey([[127] * 8, [128] * 8] * 4), width=8, height=8, resize="crop")

    assert processor.preprocess(mask)[0, 0, :2, 0].tolist() == [0, 1]


def test_polarity_turns_the_mask_but_not_the_padding() -> None:
    mask = Image.new("L", (32, 16), 255)
    mask.paste(0, (0, 0, 16, 16))

    plain = fit_mask(mask, width=32, height=32, resize="pad")
    turned = fit_mask(mask, width=32, height=32, resize="pad", invert=True)

    assert [plain.getpixel(place) for place in ((4, 16), (28, 16), (4, 2), (28, 30))] == [0, 255, 0, 0]
    assert [turned.getpixel(place) for place in ((4, 16), (28, 16), (4, 2), (28, 30))] == [255, 0, 0, 0]


def test_a_masks_transparency_is_black() -> None:
    strokes = Image.new("RGBA", (16, 8), (255, 255, 255, 0))
    strokes.paste((255, 255, 255, 255), (0, 0, 8, 8))

    mask = fit_mask(strokes, width=16, height=8, resize="crop")

    assert (mask.getpixel((2, 4)), mask.getpixel((14, 4))) == (255, 0)


@given(sides=st.tuples(st.integers(2, 60), st.integers(1, 60)), width=wanted_sides, height=wanted_sides, resize=resizes)
def test_depth_stays_in_its_range(sides: tuple[int, int], width: int, height: int, resize: str) -> None:
    values = numpy.linspace(1000, 60_000, sides[0] * sides[1]).reshape(sides[1], sides[0]).astype(numpy.uint16)

    try:
        depth = fit_depth(Image.fromarray(values), width=width, height=height, resize=resize)  # type: ignore[arg-type]
    except FlatDepth:  # a crop may show one pixel alone
        return

    assert (tuple(depth.shape), depth.dtype) == ((1, height, width), torch.float32)
    assert float(depth.max()) <= 60_000 / 65_535 + 1e-6
    assert float(depth.min()) >= (0 if resize == "pad" else 1000 / 65_535 - 1e-6)


def test_depth_keeps_sixteen_bits() -> None:
    values = numpy.arange(64 * 64, dtype=numpy.uint16).reshape(64, 64)

    depth = fit_depth(Image.fromarray(values), width=64, height=64, resize="crop")

    assert torch.equal((depth[0] * 65_535).round().to(torch.int32), torch.from_numpy(values.astype(numpy.int32)))


def test_depth_of_eight_bits_goes_from_nought_to_one() -> None:
    picture = Image.linear_gradient("L")

    depth = fit_depth(picture, width=256, height=256, resize="crop")

    assert (float(depth.min()), float(depth.max())) == (0.0, 1.0)
    assert torch.equal(depth, fit_depth(picture.convert("RGB"), width=256, height=256, resize="crop"))


def test_a_depth_map_without_depth_is_refused() -> None:
    with pytest.raises(FlatDepth, match="one value everywhere"):
        fit_depth(Image.new("L", (8, 8), 9), width=8, height=8, resize="crop")
