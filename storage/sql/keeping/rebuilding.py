"""Queries that write rows as the store tells of them: whole, without the steps that led there."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from storage.sql.tables import chunk, event, image, job
from storage.states import JobState

MARK = "rebuilt"  # the event of a job whose rows came from the store
_BATCH = 500  # values in one query, below SQLite's limit on variables


def strange_jobs(connection: Connection) -> int:
    """How many jobs are there that did not come from the store."""
    rebuilt = select(event.c.job).where(event.c.what == MARK)
    return int(connection.execute(select(func.count()).select_from(job).where(job.c.id.not_in(rebuilt))).scalar_one())


def add_chunk(connection: Connection, **values: Any) -> None:
    """Store a chunk in whatever state it was."""
    connection.execute(insert(chunk).values(noted=True, **values))


def put_in_state(connection: Connection, job_id: str, state: JobState, **values: Any) -> None:
    """Say where a job stands, wherever it stood before; `values` are further columns."""
    connection.execute(update(job).where(job.c.id == job_id).values(state=state, **values))


def replace_images(connection: Connection, job_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; what an earlier chunk said of the same images gives way."""
    numbers = [row["number"] for row in rows]
    for start in range(0, len(numbers), _BATCH):
        part = image.c.number.in_(numbers[start : start + _BATCH])
        connection.execute(delete(image).where(image.c.job == job_id, part))
    if rows:
        connection.execute(insert(image), list(rows))
