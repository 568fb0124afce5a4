"""Which image goes into which shard, decided before the first picture is read. Pure.

The plan of an export is frozen when it starts: one line a shard, with the numbers of its images. So a job that still
grows, a crash or another number of workers change no shard; `--append` makes a further plan of what is new. Shards
are cut by count: their borders depend on nothing but the order of the images.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dispatcher.export.index import REJECTED
from dispatcher.export.selection.splitting import Splits
from storage.spec import Numbers, canonical
from storage.sql.selecting import Candidate
from storage.states import ImageState

REJECTED_ROWS: Final = 10_000  # of one table of what was not exported
_ROUND: Final = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """One shard and the images that it is to hold: jobs in the order given, numbers ascending."""

    split: str
    place: int  # among the shards of its split, from 0
    numbers: Sequence[tuple[str, Numbers]]

    @property
    def rows(self) -> int:
        """How many images."""
        return sum(len(numbers) for _, numbers in self.numbers)

    @property
    def stem(self) -> str:
        """Its part of file names: "train-000000"."""
        return f"{self.split}-{self.place:06d}"

    def has(self, job: str, number: int) -> bool:
        """Whether that image is planned for it."""
        return any(job == name and number in numbers for name, numbers in self.numbers)

    def encode(self) -> bytes:
        """One line."""
        numbers = [[job, found.to_json()] for job, found in self.numbers]
        return canonical({"split": self.split, "place": self.place, "numbers": numbers}) + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "PlannedShard":
        """Read back what `encode` gave. Raises ValueError, KeyError or TypeError for anything else."""
        entry = json.loads(line)
        numbers = [(job, Numbers.from_json(ranges)) for job, ranges in entry["numbers"]]
        return cls(entry["split"], entry["place"], numbers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Where an image goes."""

    splits: Splits
    with_rejected: bool = False
    without: frozenset[str] = frozenset()

    def of(self, candidate: Candidate) -> str:
        """The split of an image, or REJECTED."""
        if why_not(candidate, with_rejected=self.with_rejected, without=self.without) is not None:
            return REJECTED
        return self.splits.of(recipe_hash=candidate.recipe_hash, prompt=candidate.prompt)


def why_not(candidate: Candidate, *, with_rejected: bool, without: frozenset[str]) -> str | None:
    """Why an image is not exported, in a word or two; None if it is."""
    if candidate.state != ImageState.DONE:
        return "failed"
    if candidate.rejected is not None and not with_rejected:
        return "rejected"
    unwanted = sorted(candidate.flags & without)
    return f"flag {unwanted[0]}" if unwanted else None


class Taken:
    """Images that earlier plans have; numbers in a row are kept as one range, so that a full job is one."""

    def __init__(self) -> None:
        self._runs: dict[str, list[tuple[int, int]]] = {}  # by job: first and last
        self._starts: dict[str, list[int]] = {}  # of runs that are sorted and merged

    def add(self, shard: PlannedShard) -> None:
        """Take in a shard."""
        for job, numbers in shard.numbers:
            self._runs.setdefault(job, []).extend(_runs(numbers))
            self._starts.pop(job, None)

    def has(self, job: str, number: int) -> bool:
        """Whether an earlier plan has that image."""
        starts = self._sorted(job)
        place = bisect_right(starts, number) - 1
        return place >= 0 and number <= self._runs[job][place][1]

    def __len__(self) -> int:
        for job in self._runs:
            self._sorted(job)
        return sum(last - first + 1 for runs in self._runs.values() for first, last in runs)

    def _sorted(self, job: str) -> list[int]:
        if job not in self._starts:
            self._runs[job] = _merged(self._runs.get(job, []))
            self._starts[job] = [first for first, _ in self._runs[job]]
        return self._starts[job]


def plan_shards(
    chosen: Iterable[tuple[str, int, str]], *, shard_images: int, first: Mapping[str, int], limit: int | None = None
) -> Iterator[PlannedShard]:
    """Cut images into shards, each as soon as it is full; the last ones of each split come at the end.

    Args:
        chosen: Job, number and split of each image, in the order of the selection.
        shard_images: Images of a full shard; tables of what was not exported have their own size.
        first: How many shards of each split there are already.
        limit: At most that many images.
    """
    open_: dict[str, list[tuple[str, int]]] = {}
    places = dict(first)
    left = limit
    for job, number, split in chosen:
        if split != REJECTED and left is not None:
            if left == 0:
                break
            left -= 1
        waiting = open_.setdefault(split, [])
        waiting.append((job, number))
        if len(waiting) == (REJECTED_ROWS if split == REJECTED else shard_images):
            yield _close(open_, split, places)
    for split in sorted(open_):
        if open_[split]:
            yield _close(open_, split, places)


def round_down(count: float, *, most: int) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, ... that is at most `count` and `most`; at least 1."""
    best, scale = 1, 1
    while scale <= most:
        for digit in _ROUND:
            if digit * scale <= min(count, most):
                best = digit * scale
        scale *= 10
    return best


def _close(waiting: dict[str, list[tuple[str, int]]], split: str, places: dict[str, int]) -> PlannedShard:
    jobs: dict[str, list[int]] = {}
    for job, number in waiting[split]:
        jobs.setdefault(job, []).append(number)
    place = places.get(split, 0)
    places[split] = place + 1
    waiting[split] = []
    return PlannedShard(split, place, [(job, Numbers.of(numbers)) for job, numbers in jobs.items()])


def _runs(numbers: Numbers) -> Iterator[tuple[int, int]]:
    for start, stop, step in numbers.to_json():
        if step == 1:
            yield start, stop - 1
        else:
            yield from ((number, number) for number in range(start, stop, step))


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def summary(shards: Iterable[PlannedShard]) -> dict[str, dict[str, Any]]:
    """Rows and shards by split."""
    found: dict[str, dict[str, Any]] = {}
    for shard in shards:
        entry = found.setdefault(shard.split, {"rows": 0, "shards": 0})
        entry["rows"] += shard.rows
        entry["shards"] += 1
    return found
