"""Numbers of images and of their takes, as one whole number each. All pure.

A rejected image may be rendered once more with another seed. Such a take belongs to the image's place: take 2 of image
12 is written 12.2 and stored as 2,000,000,000,012, so that chunks, manifests and rows need no second column, numbers
of a job's places stay as they are, and takes come after all of them.
"""

import re
from typing import Final

from storage.spec.canonical import seed_from

TAKE: Final = 10**12  # places of one job stay below it (FARM_MAX_IMAGES)
_SAID = re.compile(r"(\d{1,12})(?:\.([1-9]\d{0,5}))?", re.ASCII)


def number_of(place: int, *, take: int) -> int:
    """The number of a take; take 0 is the image that the job states."""
    return take * TAKE + place


def place_of(number: int) -> int:
    """The number of the place that a take belongs to."""
    return number % TAKE


def take_of(number: int) -> int:
    """Which take it is, from 0."""
    return number // TAKE


def show_number(number: int) -> str:
    """A number as people read it: "12", or "12.2" for the second take."""
    take, place = divmod(number, TAKE)
    return f"{place}.{take}" if take else str(place)


def read_number(text: str) -> int:
    """A number as people write it. Raises ValueError."""
    found = _SAID.fullmatch(text)
    if found is None:
        raise ValueError("must be the number of an image, such as 12, or of a take of it, such as 12.1")
    return number_of(int(found[1]), take=int(found[2] or 0))


def seed_of_take(seed: int, *, take: int) -> int:
    """The seed of a take in [0, 2**63); a hash, since the seed after an image's own is often its neighbour's."""
    return seed_from({"seed": seed, "take": take}) if take else seed
