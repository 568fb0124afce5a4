"""Queries about jobs that are extended."""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from storage.sql import events
from storage.sql.jobs import UNWANTED, JobRow
from storage.sql.tables import job
from storage.states import JobState

ENDED = (JobState.FAILED, JobState.CANCELLED)  # such a job has no next image


def grow(connection: Connection, row: JobRow, *, spec_hash: str, positions: int, images: int) -> bool:
    """Give a job a longer spec, if it still has the one that it was read with and nobody gave it up.

    Args:
        connection: A writing transaction.
        row: The job as read before the longer spec was made.
        spec_hash: Of the longer spec, which is in the store.
        positions: Of the longer spec.
        images: How many more than the job had; its takes stay.

    Returns:
        Whether it grew. What a dispatcher does at the same time stays: only the spec and its two counts change.
    """
    same = (job.c.id == row.id, job.c.spec_hash == row.spec_hash)
    wanted = (job.c.state.not_in(ENDED), job.c.wish.not_in(UNWANTED))
    specs = [*row.specs, row.spec_hash]
    changed = connection.execute(
        update(job)
        .where(*same, *wanted)
        .values(spec_hash=spec_hash, specs=specs, positions=positions, images=job.c.images + images, judged=False)
    )  # fmt: skip
    if changed.rowcount == 1:
        events.add(connection, row.id, "extended", f"from {row.images} to {row.images + images} images")
    return changed.rowcount == 1


def grown_after_end(connection: Connection) -> Sequence[str]:
    """Jobs that were done before they were extended. Their cursor alone does not tell: empty places may follow it."""
    query = select(job.c.id).where(job.c.state == JobState.DONE, job.c.done + job.c.failed < job.c.images)
    return connection.execute(query.order_by(job.c.created_at, job.c.id)).scalars().all()
