"""Queries about what the store was told: chunks that it does not know the end of, and jobs that ended lately."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from sqlalchemy import Connection, RowMapping, func, or_, select, update

from storage.sql import chunks
from storage.sql.chunks import ChunkRow
from storage.sql.tables import chunk, environment, image, job, plan
from storage.states import OPEN_JOBS, ChunkState, ImageState, JobState, Wish

FINAL = (ChunkState.DONE, ChunkState.DROPPED)
_BATCH = 500  # values in one query, below SQLite's limit on variables


def unnoted(connection: Connection, *, limit: int) -> list[ChunkRow]:
    """Chunks that ended and are not noted yet."""
    query = select(chunk.c.job, chunk.c.number).where(chunk.c.noted.is_(False), chunk.c.state.in_(FINAL))
    found = [chunks.get(connection, *name) for name in connection.execute(query.limit(limit))]
    return [row for row in found if row is not None]


def mark_noted(connection: Connection, names: Iterable[tuple[str, int]], *, noted: bool = True) -> None:
    """Write down that the store knows how these chunks ended; or that what it knows is out of date."""
    for job_id, group in groupby(sorted(names), key=lambda name: name[0]):
        numbers = [number for _, number in group]
        for start in range(0, len(numbers), _BATCH):
            part = chunk.c.number.in_(numbers[start : start + _BATCH])
            ended = chunk.c.state.in_(FINAL)
            connection.execute(update(chunk).where(chunk.c.job == job_id, part, ended).values(noted=noted))


def rows_of(connection: Connection, row: ChunkRow) -> Iterator[RowMapping]:
    """The image rows that came of a chunk, with the hashes of plan and environment; bodies are asked for apart."""
    numbers = list(row.numbers)
    query = (
        select(image, plan.c.hash.label("plan_hash"), environment.c.hash.label("environment_hash"))
        .join(plan, plan.c.id == image.c.plan)
        .join(environment, environment.c.id == image.c.environment)
        .where(image.c.job == row.job, image.c.chunk == row.number)
    )
    for start in range(0, len(numbers), _BATCH):
        part = numbers[start : start + _BATCH]
        yield from connection.execute(query.where(image.c.number.in_(part)).order_by(image.c.number)).mappings()


def failed_counts(connection: Connection, names: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """How many images of these chunks have failed, of those that any have."""
    found: dict[tuple[str, int], int] = {}
    for job_id, group in groupby(sorted(names), key=lambda name: name[0]):
        of_these = image.c.chunk.in_([number for _, number in group])
        query = select(image.c.chunk, func.count()).where(image.c.job == job_id, image.c.state == ImageState.FAILED)
        for number, count in connection.execute(query.where(of_these).group_by(image.c.chunk)):
            found[job_id, number] = count
    return found


def bodies(connection: Connection, hashes: Iterable[str], *, of: str) -> dict[str, dict[str, object]]:
    """The bodies of plans or environments (`of` names the table) by hash."""
    table = {"plan": plan, "environment": environment}[of]
    wanted = sorted(set(hashes))
    return {row.hash: row.body for row in connection.execute(select(table).where(table.c.hash.in_(wanted)))}


def last_end(connection: Connection) -> float:
    """When the last job ended, Unix seconds; 0 if none did."""
    return float(connection.execute(select(func.max(job.c.finished_at))).scalar() or 0.0)


def ended_since(connection: Connection, moment: float) -> list[tuple[str, float, bool]]:
    """Jobs that ended at or after a moment, or whose images were dropped: id, when it ended, whether dropped."""
    is_dropped = (job.c.wish == Wish.DROP) & (job.c.state == JobState.CANCELLED)
    query = select(job.c.id, func.coalesce(job.c.finished_at, 0.0), is_dropped).where(
        or_(is_dropped, (job.c.finished_at >= moment) & job.c.state.not_in(OPEN_JOBS))
    )
    return [(row[0], float(row[1]), bool(row[2])) for row in connection.execute(query)]
