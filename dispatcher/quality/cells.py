"""Which rejected images get a successor: the next take of their place, with a seed of its own. Pure.

A cell wants a number of accepted images: what `accept` says for every combination of the values of `per`, or one for
each place. While it lacks some, its rejected places get their next takes, lowest number first: first takes of all
places, then second ones, and so on, never more than the cell lacks. So what a cell renders is a beginning of one fixed
list, and ends where it has enough, however the work was divided. A failed image gets no take: `farm retry` is for it.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from storage.spec.number import number_of, place_of, take_of

Outcome = Literal["accepted", "rejected", "failed", "pending"]


@dataclass(slots=True)
class _Cell:
    accepted: int = 0
    pending: int = 0
    rejected: dict[int, int] = field(default_factory=dict)  # place -> its newest take, if that was rejected


class Cells:
    """Counts of every cell of a job, filled image by image."""

    def __init__(self, *, quota: int, tries: int) -> None:
        """Say what cells want.

        Args:
            quota: Accepted images of a cell, at least 1.
            tries: Renderings of one place at most, the first one included.
        """
        self._quota = quota
        self._tries = tries
        self._cells: dict[Hashable, _Cell] = {}

    def add(self, cell: Hashable, number: int, outcome: Outcome) -> None:
        """Count an image. Those of one place must come in the order of their takes."""
        found = self._cells.setdefault(cell, _Cell())
        place = place_of(number)
        found.rejected.pop(place, None)
        if outcome == "accepted":
            found.accepted += 1
        elif outcome == "pending":
            found.pending += 1
        elif outcome == "rejected":
            found.rejected[place] = take_of(number)

    def next_takes(self) -> list[int]:
        """Numbers of the images to render now, ascending; empty when every cell has enough or can get no more."""
        return sorted(number for cell in self._cells.values() for number in self._of(cell))

    def short(self) -> list[Hashable]:
        """Cells that lack accepted images, with nothing under way and no take left to try."""
        return [
            name
            for name, cell in self._cells.items()
            if cell.accepted + cell.pending < self._quota and not any(self._open(cell))
        ]

    def _of(self, cell: _Cell) -> list[int]:
        lacking = self._quota - cell.accepted - cell.pending
        return sorted(self._open(cell))[:lacking] if lacking > 0 else []

    def _open(self, cell: _Cell) -> Iterator[int]:
        for place, take in cell.rejected.items():
            if take + 1 < self._tries:
                yield number_of(place, take=take + 1)
