"""How the images of a chunk go through the pipeline together. Pure.

Every call has the plan's batch size, whatever is left: a kernel may choose another order of sums for another shape,
and then an image would depend on its company. A short batch is padded with its last image, the surplus thrown away.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from storage.spec import batch_key
from worker.renderer import Recipe


@dataclass(frozen=True, slots=True)
class Wanted:
    """One image to make."""

    number: int
    models: tuple[str, ...]  # that it uses, by `model_key`
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one pipeline call, at most `size`."""

    images: tuple[Wanted, ...]
    size: int

    @property
    def models(self) -> tuple[str, ...]:
        """The models that all of them use."""
        return self.images[0].models

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
    for _, group in groupby(wanted, key=lambda image: (image.models, batch_key(image.recipe))):
        while images := tuple(islice(group, size)):
            yield Batch(images, size)
