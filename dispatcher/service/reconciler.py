"""What was promised and not heard of: recorded where a manifest lies in the store, else offered again, elsewhere.

"No manifest" must be an answer of the store. While it is away nothing is issued again.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection

from dispatcher.planning.sessions import Loss, Sessions
from dispatcher.service.broker import Broker
from dispatcher.service.recorder import Recorder, end_job
from storage.blobs import BlobStore
from storage.errors import PermanentError
from storage.sql import Database, chunks, jobs
from storage.sql.chunks import ChunkRow
from storage.states import ChunkState, JobState, Wish
from storage.wire.keys import chunk_prefix

log = logging.getLogger(__name__)


class Reconciler:
    """Takes back what is lost, and turns users' wishes into states."""

    def __init__(
        self, database: Database, store: BlobStore, broker: Broker, recorder: Recorder, *, max_attempts: int
    ) -> None:
        self._database = database
        self._store = store
        self._broker = broker
        self._recorder = recorder
        self._max_attempts = max_attempts

    def fulfil_wishes(self, *, fence: Callable[[Connection], None]) -> list[str]:
        """Cancel what users want cancelled. Returns the jobs that workers should let go of."""
        with self._database.read() as connection:
            unwanted = [row.id for row in jobs.still_open(connection) if row.wish == Wish.CANCEL]
            issued = {chunk.job for chunk in chunks.in_state(connection, ChunkState.ISSUED)}
            ended = [job_id for job_id in sorted(issued) if not jobs.get(connection, job_id).is_open]
        if unwanted:
            with self._database.write() as connection:
                fence(connection)
                for job_id in unwanted:
                    end_job(connection, job_id, JobState.CANCELLED, reason=None, now=time.time())
                    log.info("job cancelled", extra={"job": job_id})
        return sorted({*ended, *(job_id for job_id in unwanted if job_id in issued)})

    def take_back(self, sessions: Sessions, *, fence: Callable[[Connection], None], now: float, forgot: bool) -> None:
        """Look after every issued chunk.

        Raises:
            StoreAway: Nothing was taken back.
            DatabaseAway: SQL does not answer.
        """
        with self._database.read() as connection:
            issued = chunks.in_state(connection, ChunkState.ISSUED)
        sessions.keep((chunk.job, chunk.number, chunk.attempt) for chunk in issued)
        for chunk in issued:
            assert chunk.node is not None
            assert chunk.boot is not None
            attempt = (chunk.job, chunk.number, chunk.attempt)
            loss = sessions.lost(attempt, node=chunk.node, boot=chunk.boot, now=now, forgot=forgot)
            if loss is not None:
                if not self._record_what_lies_there(chunk):
                    self._offer_again(chunk, loss, fence=fence)
                sessions.forget(attempt)

    def _record_what_lies_there(self, chunk: ChunkRow) -> bool:
        """Record the manifest of any attempt of this chunk, the newest attempt first."""
        for attempt in range(chunk.attempt, 0, -1):
            for blob in self._store.list(chunk_prefix(chunk.job, chunk.number, attempt)):
                if blob.key.endswith("/manifest.json"):
                    try:
                        self._recorder.record(blob.key)
                    except PermanentError as error:  # ManifestRefused, BlobMissing, a spec that is gone
                        log.warning("manifest refused", extra={"key": blob.key, "why": str(error)})
                    else:
                        return True
        return False

    def _offer_again(self, chunk: ChunkRow, loss: Loss, *, fence: Callable[[Connection], None]) -> None:
        if chunk.attempt >= self._max_attempts and chunk.kind == "render" and self._give_up(chunk, loss):
            return
        now = time.time()
        with self._database.write() as connection:
            fence(connection)
            row = jobs.get(connection, chunk.job)
            if not row.is_open or row.wish == Wish.CANCEL:
                changed = chunks.drop(connection, chunk, why=str(row.state), now=now)
            elif chunk.attempt >= self._max_attempts:
                changed = chunks.drop(connection, chunk, why=loss, now=now)
                end_job(connection, chunk.job, JobState.FAILED, reason=_lost_too_often(chunk, loss), now=now)
            else:
                changed = chunks.offer_again(connection, chunk, why=loss, now=now)
        if changed:
            self._broker.forbid(chunk.job, chunk.number, chunk.attempt)
            log.warning("chunk lost", extra={
                "job": chunk.job, "chunk": chunk.number, "attempt": chunk.attempt, "worker": chunk.node, "why": loss,
            })  # fmt: skip

    def _give_up(self, chunk: ChunkRow, loss: Loss) -> bool:
        """Fail the images of a chunk that must not go round for ever. Returns False if only its job can fail."""
        try:
            given_up = self._recorder.give_up(chunk, detail=_lost_too_often(chunk, loss))
        except PermanentError:
            return False
        if given_up:
            self._broker.forbid(chunk.job, chunk.number, chunk.attempt)
            log.error("chunk given up", extra={"job": chunk.job, "chunk": chunk.number, "why": loss})
        return True


def _lost_too_often(chunk: ChunkRow, loss: Loss) -> str:
    return f"chunk {chunk.number} was lost {chunk.attempt} times, last: {loss} ({chunk.node})"
