"""What a job was extended by, one axis at a time.

A part adds values to one axis: its images are those values times everything that the other axes have by then. So
after every part a job is the full product of its axes again, no combination is there twice, and a part is told in as
many words as it has new values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from storage.spec.dimension import Chain, Dimension, Factor, from_json


@dataclass(frozen=True, slots=True)
class Part:
    """New values of one axis."""

    axis: int  # which of the spec's dimensions
    adds: Dimension  # binds the same keys and labels

    def to_json(self) -> dict[str, Any]:
        """Its entry in the frozen spec."""
        return {"axis": self.axis, "adds": self.adds.to_json()}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read back what `to_json` gave."""
        return cls(entry["axis"], from_json(entry["adds"]))


def pieces_of(dimensions: Sequence[Dimension], parts: Sequence[Part]) -> list[list[Dimension]]:
    """What each axis has by now: the values it began with, and what parts added."""
    known = [[dimension] for dimension in dimensions]
    for part in parts:
        known[part.axis].append(part.adds)
    return known


def walk(dimensions: Sequence[Dimension], parts: Sequence[Part]) -> Iterator[list[Factor]]:
    """The factors of every product: the one that the job began with, then one a part."""
    yield list(dimensions)
    known: list[Factor] = list(dimensions)
    for count, part in enumerate(parts, start=1):
        yield [*known[: part.axis], part.adds, *known[part.axis + 1 :]]
        known[part.axis] = Chain(pieces_of(dimensions, parts[:count])[part.axis])
