"""From a job's cursor to a ready chunk, inside the feeder's transaction. What exists already is linked on the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from dispatcher.planning.cutting import chunk_images, cut
from dispatcher.planning.placing.placement import Seat
from dispatcher.service.feeding.fitting import Piece, choose_for, settle
from dispatcher.service.feeding.linking import link_existing
from dispatcher.service.steps import finish_if_complete
from storage.spec import Job, Numbers
from storage.sql import chunks, jobs
from storage.sql.chunks import ChunkRow, NewChunk
from storage.sql.jobs import JobRow
from storage.states import JobState, Reuse

MAX_STRETCH: Final = 2048  # images that one look for links takes at most: it runs inside a transaction


@dataclass(frozen=True, slots=True)
class Cutting:
    """What came of it: a chunk, only links, or neither (empty places)."""

    chunk: ChunkRow | None
    linked: bool = False


class Cutter:
    """Cuts chunks. Keeps only how far ahead it may look in a job of which all images exist so far."""

    def __init__(self, *, chunk_s: float) -> None:
        self._chunk_s = chunk_s
        self._stretch: dict[str, int] = {}  # job -> how many chunks at once

    def resolve(self, connection: Connection, row: JobRow) -> Cutting:
        """A chunk that finds out about the models of a job."""
        number = chunks.add(connection, NewChunk(job=row.id, kind="resolve", numbers=Numbers()))
        jobs.enter(connection, row.id, JobState.RESOLVING)
        return Cutting(chunks.get(connection, row.id, number))

    def render(self, connection: Connection, row: JobRow, job: Job, *, seat: Seat, workers: int, now: float) -> Cutting:
        """The next images of a job that do not exist yet, for a worker.

        Args:
            connection: A writing transaction of the leader.
            row: The job as stored; its models are resolved.
            job: Its images.
            seat: The worker.
            workers: Live workers that share the rest.
            now: Unix seconds.
        """
        models = row.models
        assert models is not None
        first = cut(job, cursor=row.cursor, images=1, models=models)
        if first.model is None:
            jobs.change(connection, row.id, cursor=first.cursor)
            finish_if_complete(connection, row.id, now=now)
            return Cutting(None)
        piece = Piece(model=first.model, digest=models[first.model].digest, size=first.size)
        choice = choose_for(connection, row, job, piece=piece, seat=seat)
        plan_id = settle(connection, row, piece, choice)
        wanted = chunk_images(
            seconds_per_image=row.seconds_per_image, target_s=self._target_s(row),
            batch=(choice.plan or choice.base).batch, left=job.positions - row.cursor, workers=workers,
        )  # fmt: skip
        part = cut(job, cursor=row.cursor, images=self._look(row, wanted), models=models)
        jobs.change(connection, row.id, cursor=part.cursor)
        left = link_existing(connection, row, job, part.numbers, plan_id=plan_id)
        self._learn(row, linked_all=not left)
        news = [
            NewChunk(job=row.id, kind="render", numbers=some, plan=plan_id, model=first.model)
            for some in _split(left, wanted)
        ]
        numbers = [chunks.add(connection, new) for new in news]
        return Cutting(chunks.get(connection, row.id, numbers[0]) if numbers else None, linked=not numbers)

    def _target_s(self, row: JobRow) -> float:
        """Seconds that the next chunk aims at: near the end of a budget, what is left of it."""
        if row.max_device_seconds is None:
            return self._chunk_s
        return min(self._chunk_s, max(0.0, row.max_device_seconds - row.device_seconds))

    def _look(self, row: JobRow, wanted: int) -> int:
        """How many images to look at: more and more while all of them turn out to exist."""
        if row.reuse == Reuse.OFF:
            return wanted
        return max(wanted, min(MAX_STRETCH, wanted * self._stretch.get(row.id, 1)))

    def _learn(self, row: JobRow, *, linked_all: bool) -> None:
        if linked_all and row.cursor < row.positions:
            self._stretch[row.id] = min(MAX_STRETCH, 2 * self._stretch.get(row.id, 1))
        else:
            self._stretch.pop(row.id, None)


def _split(numbers: Numbers, size: int) -> Iterator[Numbers]:
    rest = iter(numbers)
    while part := Numbers.of(islice(rest, size)):
        yield part
