"""The perceptual hash of a picture."""

import imagehash
import pytest
from PIL import Image

from storage.phash import phash_of


@pytest.mark.parametrize(
    "shown", [Image.radial_gradient("L"), Image.effect_mandelbrot((640, 480), (-2, -1.2, 0.8, 1.2), 60)],
    ids=["gradient", "fractal"],
)  # fmt: skip
def test_the_perceptual_hash_is_everybodys(shown: Image.Image) -> None:
    picture = shown.convert("RGB")

    assert phash_of(picture) == str(imagehash.phash(picture))


def test_a_blank_picture_has_a_hash_too() -> None:
    assert len(phash_of(Image.new("RGB", (8, 8)))) == 16
