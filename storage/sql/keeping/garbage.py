"""Queries about what the store holds: which keys are in use, how far chunks and jobs are; and rows that go for good."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, delete, func, select, update

from storage.sql import leading
from storage.sql.tables import attempt, chunk, event, image, job, job_plan, leader
from storage.states import OPEN_JOBS, ChunkState, JobState, Wish

_BATCH = 500  # values in one query, below SQLite's limit on variables
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class JobHead:
    """What the collector wants to know of a job."""

    state: JobState
    is_dropped: bool


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """What the collector wants to know of a chunk."""

    state: ChunkState
    kind: str
    manifest: str | None

    @property
    def is_final(self) -> bool:
        """Whether no manifest of it can be recorded any more."""
        return self.state in (ChunkState.DONE, ChunkState.DROPPED)


def named_keys(connection: Connection, image_keys: Collection[str]) -> set[str]:
    """Of rows that name one of these images, links included: the keys of image and preview."""
    named: set[str] = set()
    for part in _parts(sorted(image_keys)):
        for row in connection.execute(select(image.c.key, image.c.preview_key).where(image.c.key.in_(part))):
            named.update(key for key in row if key is not None)
    return named


def job_heads(connection: Connection, ids: Collection[str]) -> dict[str, JobHead]:
    """Those of these jobs that exist."""
    heads: dict[str, JobHead] = {}
    for part in _parts(sorted(ids)):
        for row in connection.execute(select(job.c.id, job.c.state, job.c.wish).where(job.c.id.in_(part))):
            heads[row.id] = JobHead(JobState(row.state), row.wish == Wish.DROP)
    return heads


def chunk_heads(connection: Connection, names: Iterable[tuple[str, int]]) -> dict[tuple[str, int], ChunkHead]:
    """Those of these chunks that exist."""
    by_job: dict[str, set[int]] = {}
    for job_id, number in names:
        by_job.setdefault(job_id, set()).add(number)
    heads: dict[tuple[str, int], ChunkHead] = {}
    for job_id, numbers in by_job.items():
        for part in _parts(sorted(numbers)):
            query = select(chunk.c.number, chunk.c.state, chunk.c.kind, chunk.c.manifest)
            for row in connection.execute(query.where(chunk.c.job == job_id, chunk.c.number.in_(part))):
                heads[job_id, row.number] = ChunkHead(ChunkState(row.state), row.kind, row.manifest)
    return heads


def oldest_job(connection: Connection) -> float | None:
    """When the first job that is known was submitted; None if none is."""
    first: float | None = connection.execute(select(func.min(job.c.created_at))).scalar()
    return first


def ended_before(connection: Connection, moment: float) -> list[str]:
    """Jobs that ended before a moment, the oldest first."""
    query = select(job.c.id).where(job.c.state.not_in(OPEN_JOBS), job.c.finished_at < moment)
    return list(connection.execute(query.order_by(job.c.finished_at, job.c.id)).scalars())


def hold_lead(connection: Connection) -> None:
    """Keep the dispatcher's transactions out until this one ends: between them and it, the order is then clear."""
    leading.read(connection)
    connection.execute(update(leader).where(leader.c.id == 1).values(holder=leader.c.holder))


def remove_images(connection: Connection, job_id: str, *, limit: int) -> int:
    """Forget up to `limit` images of a job. Returns how many."""
    page = select(image.c.number).where(image.c.job == job_id).order_by(image.c.number).limit(limit)
    return connection.execute(delete(image).where(image.c.job == job_id, image.c.number.in_(page))).rowcount


def remove_chunks(connection: Connection, job_id: str, *, limit: int) -> int:
    """Forget up to `limit` chunks of a job, with their attempts. Returns how many chunks."""
    page = list(
        connection.execute(select(chunk.c.number).where(chunk.c.job == job_id).order_by(chunk.c.number).limit(limit))
        .scalars()
    )  # fmt: skip
    for part in _parts(page):
        connection.execute(delete(attempt).where(attempt.c.job == job_id, attempt.c.chunk.in_(part)))
        connection.execute(delete(chunk).where(chunk.c.job == job_id, chunk.c.number.in_(part)))
    return len(page)


def remove_job(connection: Connection, job_id: str) -> None:
    """Forget a job that has no images and no chunks any more."""
    connection.execute(delete(event).where(event.c.job == job_id))
    connection.execute(delete(job_plan).where(job_plan.c.job == job_id))
    connection.execute(delete(job).where(job.c.id == job_id))


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
