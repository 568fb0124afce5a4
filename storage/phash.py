"""Perceptual hashes of pictures: 64 bits that scaling, re-encoding and stripping hardly change.

The one function for it, so that like is compared with like. It is `imagehash.phash`, so that anybody can compare.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def phash_of(picture: "Image") -> str:
    """The perceptual hash of a picture, 16 hex digits."""
    from imagehash import phash  # brings scipy and PyWavelets along

    return str(phash(picture))
