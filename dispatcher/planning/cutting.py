"""How many images the next chunk takes, and which. Pure.

A chunk aims at a time. Nothing is known about a new job, so its first chunk is one batch; near the end the rest is
shared out, so that no worker sits idle while another one finishes a long chunk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from storage.spec import Job, ModelFacts, Numbers, Place

MAX_CHUNK_IMAGES = 4096
FASTEST_S = 1e-6  # per image; nothing is, and what divides by it stays a number
MAX_EMPTY = 10_000  # empty places that one cut walks over: it runs inside a transaction
MAX_RANGES = 512  # keeps a message small when exclusions tear the ranges apart


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """The next images of a job in render order: one model, one size."""

    numbers: Numbers
    cursor: int  # the position after the last one
    model: str | None  # name in the job file; None if only empty places were met
    size: tuple[int, int]  # width, height in pixels


def chunk_images(*, seconds_per_image: float | None, target_s: float, batch: int, left: int, workers: int) -> int:
    """How many images the next chunk should hold, at least 1.

    Args:
        seconds_per_image: Measured lately on one worker; None at the start.
        target_s: That a chunk should take.
        batch: Images of one pipeline call; chunks hold whole batches.
        left: Images of the job that are not cut yet.
        workers: Live workers that share them.
    """
    pace = max(seconds_per_image or 0.0, FASTEST_S)
    wanted = max(1, round(target_s / pace / batch)) * batch if seconds_per_image else batch
    share = ceil(left / (2 * max(1, workers)) / batch) * batch
    return min(wanted, max(share, batch), max(1, MAX_CHUNK_IMAGES // batch) * batch)


def cut(job: Job, *, cursor: int, images: int, models: Mapping[str, ModelFacts]) -> Cut:
    """Take the next images from `cursor` on, up to a change of model or size.

    Args:
        job: The job.
        cursor: Position in render order to begin at. Over a long run of empty places it takes several cuts.
        images: How many to take at most.
        models: Facts by `model_key`.
    """
    numbers: list[int] = []
    kind: tuple[str, tuple[int, int]] | None = None
    stop = min(job.positions, cursor + images + MAX_EMPTY)
    while cursor < stop and len(numbers) < images:
        place = job[job.number_at(cursor)]
        if place is not None:
            here = (place.values["model"], size_of(place, models[place.values["model"]]))
            if kind is not None and here != kind:
                break
            kind = here
            numbers.append(place.number)
        cursor += 1
        if len(numbers) % 64 == 0 and len(Numbers.of(numbers).to_json()) > MAX_RANGES:
            break
    model, size = kind or (None, (0, 0))
    return Cut(numbers=Numbers.of(numbers), cursor=cursor, model=model, size=size)


def size_of(place: Place, facts: ModelFacts) -> tuple[int, int]:
    """Width and height of an image in pixels: what the job says, else what its checkpoint was made for."""
    width, height = place.values["width"] or facts.width, place.values["height"] or facts.height
    assert width is not None  # no report about a checkpoint without a size is recorded
    assert height is not None
    return width, height
