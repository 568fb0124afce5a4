"""The rounds of an export: its frozen plans, and what the next one adds.

An export begins with round 0. A run that finds an unfinished round goes on with its plan; `--append` adds a round of
what no earlier one has. A plan is one file, `.farm/plan-000000.jsonl`, and is never written again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement

from dispatcher.export.index import REJECTED, Index
from dispatcher.export.planning import Choice, PlannedShard, Taken, plan_shards
from dispatcher.export.sources import Source
from dispatcher.export.targets import Target
from storage.errors import BlobMissing, PermanentError
from storage.spec import Numbers
from storage.sql import Database, selecting

_PLAN: Final = ".farm/plan-{:06d}.jsonl"


class PlanRefused(PermanentError):
    """The frozen plan of an export cannot be read. Args: place."""

    text = "{0}: is missing or no plan of an export; export to another folder"


def read_plans(target: Target, rounds: int) -> Iterator[PlannedShard]:
    """The shards of all rounds so far, in order. Raises PlanRefused, StoreAway."""
    for place in range(rounds):
        yield from read_plan(target, place)


def settled_plans(target: Target, rounds: int) -> Iterator[PlannedShard]:
    """As `read_plans`, each shard without the images that a later round has.

    A later round has an image of an earlier one if that left it out, its object being lost then, or listed it as not
    exported. So a shard that is made anew does not bring in twice what was made good since.
    """
    last = _repeated(target, rounds)
    for place in range(rounds):
        later = {image for image, round_ in last.items() if round_ > place}
        for shard in read_plan(target, place):
            yield _without(shard, later)


def freeze_plan(target: Target, place: int, shards: Iterable[PlannedShard]) -> int:
    """Write the plan of a round. Returns how many shards it has."""
    count = 0
    with target.draft() as draft:
        with draft.open("xb") as file:
            for shard in shards:
                file.write(shard.encode())
                count += 1
        if count or place == 0:  # a further round of nothing leaves no trace
            target.take(_PLAN.format(place), draft)
    return count


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which images of which jobs, and where each goes."""

    database: Database
    sources: Sequence[Source]  # in the order given
    choice: Choice
    where: ColumnElement[bool] | None  # images that do not meet it are passed over in silence
    limit: int | None  # images of the data set in all

    def first_round(self, *, shard_images: int) -> Iterator[PlannedShard]:
        """The shards of a new export."""
        return plan_shards(self._chosen(Taken(), Taken()), shard_images=shard_images, first={}, limit=self.limit)

    def next_round(
        self, earlier: Iterable[PlannedShard], index: Index, *, name_of: Callable[[PlannedShard], str],
        but: Callable[[set[tuple[str, int]]], set[tuple[str, int]]],
    ) -> Iterator[PlannedShard]:  # fmt: skip
        """The shards of a further round, as far as there is anything new.

        Args:
            earlier: The shards of the rounds before, as `settled_plans` gives them.
            index: Of the export: which of their images were left out.
            name_of: What a shard is called there.
            but: Of images that were left out, those that stay so.
        """
        exported, listed, first = Taken(), Taken(), dict[str, int]()
        for shard in earlier:
            first[shard.split] = max(first.get(shard.split, 0), shard.place + 1)
            if shard.split == REJECTED:
                listed.add(shard)
            else:
                made = index.shards.get(name_of(shard))
                lost = made.left_out if made is not None else ()
                left_out = {(one.job, one.number) for one in lost if shard.has(one.job, one.number)}
                exported.add(_without(shard, left_out - but(left_out)))
        left = None if self.limit is None else max(0, self.limit - len(exported))
        chosen = self._chosen(exported, listed)
        return plan_shards(chosen, shard_images=index.shard_images, first=first, limit=left)

    def _chosen(self, exported: Taken, listed: Taken) -> Iterator[tuple[str, int, str]]:
        """Job, number and split of every image that no earlier plan has, in the order of the selection."""
        for source in self.sources:
            job_id = source.row.id
            for candidate in _pages(self.database, job_id, self.where):
                if not exported.has(job_id, candidate.number):
                    split = self.choice.of(candidate)
                    if split != REJECTED or not listed.has(job_id, candidate.number):
                        yield job_id, candidate.number, split


def _pages(database: Database, job_id: str, where: ColumnElement[bool] | None) -> Iterator[selecting.Candidate]:
    """Read with a transaction a page: a plan of millions of images must not hold one open."""
    after = -1
    while True:
        with database.read() as connection:
            page = selecting.candidates(connection, job_id, where=where, after=after)
        if not page:
            return
        yield from page
        after = page[-1].number


def read_plan(target: Target, place: int) -> Iterator[PlannedShard]:
    """The shards of one round, in order. Raises PlanRefused, StoreAway."""
    name = _PLAN.format(place)
    try:
        for line in target.get(name).splitlines():
            yield PlannedShard.decode(line)
    except (BlobMissing, ValueError, KeyError, TypeError):
        raise PlanRefused(f"{target.address}/{name}") from None


def _repeated(target: Target, rounds: int) -> dict[tuple[str, int], int]:
    """Images that several rounds have, with the last of these."""
    seen, last = Taken(), dict[tuple[str, int], int]()
    for place in range(rounds if rounds > 1 else 0):
        shards = list(read_plan(target, place))
        for shard in shards if place else []:
            last |= {(job, number): place for job, numbers in shard.numbers for number in numbers
                     if seen.has(job, number)}  # fmt: skip
        for shard in shards:
            seen.add(shard)
    return last


def _without(shard: PlannedShard, broken: set[tuple[str, int]]) -> PlannedShard:
    if not broken:
        return shard
    kept = [
        (job, Numbers.of(number for number in numbers if (job, number) not in broken))
        for job, numbers in shard.numbers
    ]  # fmt: skip
    return PlannedShard(shard.split, shard.place, kept)
