"""What happened to jobs, in words: changes of state, wishes acted on, divided chunks, refused manifests.

For people only: no decision rests on an event. A job keeps its newest ones.
"""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from storage.sql.tables import event

KEPT = 10_000  # of one job
_TRIM_EVERY = 256  # events of all jobs between two looks
_DETAIL = 1000  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRow:
    """One thing that happened to a job."""

    id: int
    job: str
    at: float  # Unix seconds
    what: str
    detail: str


def add(connection: Connection, job_id: str, what: str, detail: str = "", *, now: float | None = None) -> None:
    """Write down that something happened to a job; every so often its oldest events are forgotten."""
    at = time.time() if now is None else now
    done = connection.execute(insert(event).values(job=job_id, at=at, what=what, detail=_plain(detail)))
    number: int = done.inserted_primary_key[0] if done.inserted_primary_key else 0
    if number % _TRIM_EVERY == 0:
        trim(connection, job_id)


def add_once(connection: Connection, job_id: str, what: str, detail: str) -> bool:
    """Write an event unless the job has the very same one. Returns whether it was new."""
    same = select(event.c.id).where(event.c.job == job_id, event.c.what == what, event.c.detail == _plain(detail))
    if connection.execute(same.limit(1)).scalar() is not None:
        return False
    add(connection, job_id, what, detail)
    return True


def of_job(connection: Connection, job_id: str, *, limit: int = KEPT) -> list[EventRow]:
    """The newest events of a job, the oldest of them first."""
    query = select(event).where(event.c.job == job_id).order_by(event.c.id.desc()).limit(limit)
    return [EventRow(**row) for row in connection.execute(query).mappings()][::-1]


def trim(connection: Connection, job_id: str, *, kept: int = KEPT) -> None:
    """Forget all but the newest events of a job."""
    newest = select(event.c.id).where(event.c.job == job_id).order_by(event.c.id.desc())
    last = connection.execute(newest.offset(kept - 1).limit(1)).scalar()
    if last is not None:
        connection.execute(delete(event).where(event.c.job == job_id, event.c.id < last))


def _plain(detail: str) -> str:
    """Text that every database takes: a refused manifest may say anything."""
    return detail[:_DETAIL].encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
