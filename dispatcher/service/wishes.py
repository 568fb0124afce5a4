"""What users want of jobs and workers, turned into states: one transaction a job, behind the leader's fence.

Wishes are levels: a round that fails halfway is done again by the next one. A job that must not go on (paused, stopped,
ended) loses what waits in workers' queues at once; what runs already ends at its next step where its user wants the
device back, else by itself.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from dispatcher.extension import reopen_grown
from dispatcher.planning.stopping import Trend, new_failures, why_stop, window
from dispatcher.service.broker import Broker
from dispatcher.service.retrying import retry
from dispatcher.service.steps import end_job
from storage.sql import Database, chunks, endings, events, growth, jobs, quality, workers
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import UNWANTED, JobRow
from storage.sql.tables import job as job_table
from storage.states import ChunkState, JobState, Wish, sources_of

log = logging.getLogger(__name__)
_PAUSES = (Wish.PAUSE, Wish.PAUSE_AFTER_CHUNKS)
_FORGOTTEN = 20_000  # images of a dropped job in one transaction: it must stay short


@dataclass(frozen=True, slots=True)
class Stops:
    """What must end at its next step."""

    jobs: list[str]
    nodes: frozenset[str]


class Wishes:
    """Acts on wishes; `fence` opens every transaction."""

    def __init__(
        self, database: Database, broker: Broker, *, fence: Callable[[Connection], None], stop_after_failures: int,
        chunk_s: float,
    ) -> None:  # fmt: skip
        self._database = database
        self._broker = broker
        self._fence = fence
        self._limit = stop_after_failures
        self._chunk_s = chunk_s

    def fulfil(self) -> Stops:
        """Do all that is due.

        Raises:
            DatabaseAway: The next round goes on.
            BrokerAway: Likewise; states are up to date.
        """
        now = time.time()
        with self._database.read() as connection:
            due = [job_id for job_id in jobs.to_attend(connection) if self._is_due(connection, job_id, now=now)]
        for job_id in due:
            with self._database.write() as connection:
                self._fence(connection)
                self._attend(connection, jobs.get(connection, job_id, lock=True), now=now)
        self._reopen()
        return self._withdraw()

    def _reopen(self) -> None:
        """Let done jobs go on that were extended."""
        with self._database.read() as connection:
            if not growth.grown_after_end(connection):
                return
        with self._database.write() as connection:
            self._fence(connection)
            reopen_grown(connection)

    def _is_due(self, connection: Connection, job_id: str, *, now: float) -> bool:
        """Whether there is more to do than to look: most jobs with a budget or a few failures just go on."""
        row = jobs.get(connection, job_id)
        waits = row.state in (JobState.QUEUED, JobState.RESOLVING)
        if row.wish != Wish.RUN or (row.retry is not None and not waits):
            return True
        return self._why_stop(connection, row, now=now) is not None

    def _attend(self, connection: Connection, row: JobRow, *, now: float) -> None:
        if row.wish in UNWANTED:
            end_job(connection, row.id, JobState.CANCELLED, reason=None, now=now)
            if row.wish == Wish.DROP:
                self._forget(connection, row.id)
        elif row.wish in _PAUSES:
            jobs.enter(connection, row.id, JobState.PAUSED, reason=None)
        elif row.wish == Wish.RESUME:
            _resume(connection, row)
        elif (reason := self._why_stop(connection, row, now=now)) is not None:
            jobs.enter(connection, row.id, JobState.STOPPED, reason=reason)
            log.warning("job stopped", extra={"job": row.id, "why": reason})
        if row.retry is not None:
            retry(connection, jobs.get(connection, row.id), chunk_s=self._chunk_s, now=now)

    def _why_stop(self, connection: Connection, row: JobRow, *, now: float) -> str | None:
        if row.state not in sources_of(JobState.STOPPED):
            return None
        trend = None
        if new_failures(row) >= self._limit:
            trend = Trend(*endings.trend(connection, row.id, window=window(self._limit)))
        return why_stop(row, now=now, limit=self._limit, trend=trend)

    def _forget(self, connection: Connection, job_id: str) -> None:
        """Delete the images of a job that nobody wants, a part a round, once no worker has any of it."""
        counts, row = chunks.open_counts(connection, job_id), jobs.get(connection, job_id)
        if counts.get(ChunkState.ISSUED) or counts.get(ChunkState.READY) or row.state != JobState.CANCELLED:
            return
        gone = endings.forget_some(connection, job_id, limit=_FORGOTTEN)
        less = {name: job_table.c[name] - count for name, count in gone.items()}
        jobs.change(connection, job_id, **less, rejected=quality.rejected_count(connection, job_id))
        if row.done + row.failed == gone["done"] + gone["failed"] > 0:
            events.add(connection, job_id, "dropped", "no image of it is kept")

    def _withdraw(self) -> Stops:
        """Take back what waits and should not run; say what runs and should not."""
        with self._database.read() as connection:
            issued = chunks.in_state(connection, ChunkState.ISSUED)
            rows = {job_id: jobs.get(connection, job_id) for job_id in {chunk.job for chunk in issued}}
            wishes = workers.wishes(connection)
        for chunk in issued:
            why = _why_not(chunk, rows[chunk.job], drained=chunk.node in wishes)
            if why is not None and self._broker.withdraw(chunk.job, chunk.number, chunk.attempt):
                self._take_back(chunk, why)
        unwanted = {row.id for row in rows.values() if not row.is_open or _wants_device_back(row)}
        return Stops(sorted(unwanted), frozenset(node for node, wish in wishes.items() if wish == "stop"))

    def _take_back(self, chunk: ChunkRow, why: str) -> None:
        now = time.time()
        with self._database.write() as connection:
            self._fence(connection)
            if jobs.get(connection, chunk.job).is_open:
                chunks.withdraw(connection, chunk, why=why, now=now)
            else:
                chunks.drop(connection, chunk, why=why, now=now)


def _resume(connection: Connection, row: JobRow) -> None:
    """Go on where the job stood; what failed so far does not stop it again."""
    jobs.change(connection, row.id, wish=Wish.RUN)
    if row.state in (JobState.PAUSED, JobState.STOPPED):
        state = JobState.QUEUED if row.models is None else JobState.RUNNING
        jobs.enter(connection, row.id, state, reason=None, forgiven=row.failed)


def _why_not(chunk: ChunkRow, row: JobRow, *, drained: bool) -> str | None:
    """Why a chunk must not begin; None if it may."""
    if not row.is_moving:
        return f"the job is {row.state}"
    return f"{chunk.node} is drained" if drained else None


def _wants_device_back(row: JobRow) -> bool:
    return row.state == JobState.PAUSED and row.wish == Wish.PAUSE
