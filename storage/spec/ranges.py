"""A set of image numbers as a few stepped ranges.

Chunks follow render order, which strides through declared order, so a chunk of a thousand images is still a
handful of `range`s: small enough for a message, exact enough to be the contract between both sides.
"""

from collections.abc import Iterable, Iterator
from typing import Self


class Numbers:
    """Image numbers in a fixed order, kept as stepped ranges."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[range] = ()) -> None:
        self._ranges = tuple(part for part in ranges if part)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Self:
        """Pack numbers, keeping their order; neighbours in arithmetic progression share a range."""
        parts: list[range] = []
        run: list[int] = []
        for number in numbers:
            if len(run) >= 2 and number - run[-1] != run[1] - run[0]:
                parts.append(_as_range(run))
                run = []
            run.append(number)
        if run:
            parts.append(_as_range(run))
        return cls(parts)

    @classmethod
    def from_json(cls, ranges: Iterable[Iterable[int]]) -> Self:
        """Read back what `to_json` gave. Raises ValueError or TypeError for anything else."""
        return cls(range(*part) for part in ranges)

    def to_json(self) -> list[list[int]]:
        """Lists of [start, stop, step], as Python's range takes them."""
        return [[part.start, part.stop, part.step] for part in self._ranges]

    def __iter__(self) -> Iterator[int]:
        for part in self._ranges:
            yield from part

    def __len__(self) -> int:
        return sum(len(part) for part in self._ranges)

    def __contains__(self, number: object) -> bool:
        return any(number in part for part in self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Numbers({self.to_json()})"


def _as_range(run: list[int]) -> range:
    step = run[1] - run[0] if len(run) > 1 else 1
    return range(run[0], run[-1] + (1 if step > 0 else -1), step)
