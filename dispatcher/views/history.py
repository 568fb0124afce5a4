"""What happened to a job, in time order: changes of state, wishes, attempts and losses, failed images."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dispatcher.provenance.rows import image_id
from storage.sql import Database, chunks, endings, events
from storage.sql.chunks import AttemptRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of a job's history."""

    at: float  # Unix seconds
    what: str
    detail: str
    worker: str | None = None
    chunk: int | None = None
    attempt: int | None = None
    image_id: str | None = None  # such as "k3v9/12.1", as everywhere for scripts

    def to_json(self) -> dict[str, Any]:
        """Without what does not apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def read_history(database: Database, job_id: str, *, limit: int) -> list[Entry]:
    """The newest entries of a job, the oldest of them first. Raises DatabaseAway."""
    with database.read() as connection:
        told = [
            Entry(at=event.at, what=event.what, detail=event.detail)
            for event in events.of_job(connection, job_id, limit=limit)
        ]
        tried = [entry for row in chunks.attempts(connection, job_id, limit=limit) for entry in _of_attempt(row)]
        lost = [
            Entry(
                at=row.at, what="failed", detail=f"{row.reason}: {row.detail}", worker=row.worker or None,
                chunk=row.chunk, attempt=row.attempt, image_id=image_id(job_id, row.number),
            )
            for row in endings.newest_failed(connection, job_id, limit=limit)
        ]  # fmt: skip
    return sorted([*told, *tried, *lost], key=lambda entry: entry.at)[-limit:]


def _of_attempt(row: AttemptRow) -> Iterator[Entry]:
    names: dict[str, Any] = {"worker": row.node, "chunk": row.chunk, "attempt": row.attempt}
    if row.attempt > 0:  # 0: the rest of a chunk that was lost
        yield Entry(at=row.issued_at, what="issued", detail="", **names)
    if row.ended_at is not None:
        what, _, detail = (row.outcome or "ended").partition(": ")
        yield Entry(at=row.ended_at, what=what, detail=detail, **names)
