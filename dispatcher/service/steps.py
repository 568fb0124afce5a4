"""Steps of a job that more than one part of the dispatcher takes: its end, by whatever way.

Every step is `jobs.enter`, which holds the table of allowed ones and writes the event; here stands what must happen in
the same transaction.
"""

from sqlalchemy import Connection

from storage.sql import chunks, jobs
from storage.states import ChunkState, JobState, Wish

_ENDS_BY_ITSELF = (JobState.RUNNING, JobState.PAUSED, JobState.STOPPED)


def finish_if_complete(connection: Connection, job_id: str, *, now: float) -> bool:
    """Close a job whose every image is made or has failed, and judged where it has quality rules.

    A wish to cancel it that the next round will act on comes first: its user was told so. A wish to pause it ends here.

    Returns:
        Whether it was closed.
    """
    row = jobs.get(connection, job_id)
    if not row.is_complete or (row.has_rules and not row.judged) or row.wish in jobs.UNWANTED:
        return False
    return jobs.enter(connection, job_id, JobState.DONE, before=_ENDS_BY_ITSELF, finished_at=now, wish=Wish.RUN)


def end_job(connection: Connection, job_id: str, state: JobState, *, reason: str | None, now: float) -> bool:
    """Fail or cancel a job: chunks that no worker has are dropped. Returns whether it was open."""
    if not jobs.enter(connection, job_id, state, reason=reason, finished_at=now, retry=None):
        return False
    for chunk in chunks.in_state(connection, ChunkState.READY, job_id=job_id):
        chunks.drop(connection, chunk, why=str(state), now=now)
    return True
