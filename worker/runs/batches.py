"""How the images of a chunk go through the pipeline together. Pure.

Every call has the plan's batch size, whatever is left: a kernel may choose another order of sums for another shape,
and then an image would depend on its company. A short batch is padded with its last image, the surplus thrown away.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from storage.spec import batch_key
from worker.renderer import Recipe


@dataclass(frozen=True, slots=True)
class Wanted:
    """One image to make."""

    number: int
    model: str  # its name in the job file
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one pipeline call, at most `size`."""

    images: tuple[Wanted, ...]
    size: int

    @property
    def model(self) -> str:
        """The name of the model that all of them use."""
        return self.images[0].model

    @property
    def recipes(self) -> list[Recipe]:
        """Exactly `size` recipes: those of the images, then the last one again."""
        recipes = [image.recipe for image in self.images]
        return recipes + recipes[-1:] * (self.size - len(recipes))

    def alone(self) -> "list[Batch]":
        """A batch for each of the images, of the same size."""
        return [Batch((image,), self.size) for image in self.images]


def cut(wanted: Iterable[Wanted], *, size: int) -> Iterator[Batch]:
    """Cut images into batches, in order; neighbours share one if their batch keys allow it. Lazy."""
    for _, group in groupby(wanted, key=_shared):
        while images := tuple(islice(group, size)):
            yield Batch(images, size)


def _shared(wanted: Wanted) -> tuple[Any, ...]:
    # "No negative prompt" and an empty one are two things to SDXL, which takes one kind for the whole call.
    return wanted.model, batch_key(wanted.recipe), wanted.recipe["negative_prompt"] is None
