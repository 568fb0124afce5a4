"""What was promised and not heard of: recorded where a manifest lies in the store, else offered again.

"No manifest" must be an answer of the store. While it is away nothing is issued again. Whose fault a loss was decides
what it costs: the farm's own (a worker that left, fell silent or was restarted, a lost message) costs nothing, however
often; a process that died or hung with images in its pipeline counts against those images.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection

from dispatcher.planning.sessions import Blame, Loss, Sessions
from dispatcher.service.broker import Broker
from dispatcher.service.recording.outcomes import checkpoint_of
from dispatcher.service.recording.recorder import Recorder
from storage.blobs import BlobStore
from storage.errors import PermanentError
from storage.sql import Database, chunks, jobs, workers
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import UNWANTED
from storage.states import ChunkState
from storage.wire.keys import chunk_prefix

log = logging.getLogger(__name__)
_LOOKED_AT = 5  # attempts: there may be hundreds, and each costs a listing
_REASONS = {"died": "crash", "hung": "hung"}


class Reconciler:
    """Takes back what is lost."""

    def __init__(
        self, database: Database, store: BlobStore, broker: Broker, recorder: Recorder, *, scale: float = 1.0
    ) -> None:
        self._database = database
        self._store = store
        self._broker = broker
        self._recorder = recorder
        self._scale = scale  # of the farm's waiting times

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
                    blame = sessions.blame(attempt, node=chunk.node, loss=loss)
                    self._offer_again(chunk, loss, blame, fence=fence)
                sessions.forget(attempt)

    def _record_what_lies_there(self, chunk: ChunkRow) -> bool:
        """Record the manifest of a late attempt of this chunk, the newest first; older ones were looked for then."""
        for attempt in range(chunk.attempt, max(0, chunk.attempt - _LOOKED_AT), -1):
            for blob in self._store.list(chunk_prefix(chunk.job, chunk.number, attempt)):
                if blob.key.endswith("/manifest.json"):
                    try:
                        self._recorder.record(blob.key)
                    except PermanentError as error:  # ManifestRefused, BlobMissing, a spec that is gone
                        log.warning("manifest refused", extra={"key": blob.key, "why": str(error)})
                    else:
                        return True
        return False

    def _offer_again(
        self, chunk: ChunkRow, loss: Loss, blame: Blame | None, *, fence: Callable[[Connection], None]
    ) -> None:
        if blame is not None and self._accuse(chunk, loss, blame):
            changed = True
        else:
            changed = self._offer_innocent(chunk, loss, fence=fence)
        if changed:
            self._broker.forbid(chunk.job, chunk.number, chunk.attempt)
            log.warning("chunk lost", extra={
                "job": chunk.job, "chunk": chunk.number, "attempt": chunk.attempt, "worker": chunk.node, "why": loss,
                "own_fault": blame is not None,
            })  # fmt: skip

    def _accuse(self, chunk: ChunkRow, loss: Loss, blame: Blame) -> bool:
        """Count the loss against the images. Returns False if nobody can say what they are: their spec is gone."""
        said = "the worker hung" if blame.cause == "hung" else loss
        try:
            return self._recorder.accuse(chunk, suspects=blame.suspects, reason=_REASONS[blame.cause], loss=said)
        except PermanentError as error:
            log.warning("fault not counted", extra={"job": chunk.job, "chunk": chunk.number, "why": str(error)})
            return False

    def _offer_innocent(self, chunk: ChunkRow, loss: Loss, *, fence: Callable[[Connection], None]) -> bool:
        now = time.time()
        with self._database.write() as connection:
            fence(connection)
            row = jobs.get(connection, chunk.job)
            if loss == "ended without a manifest":  # a run that broke: no fault of the images, but a reason to wait
                workers.note_failure(connection, chunk.node or "", checkpoint_of(row, chunk), now, self._scale)
            if not row.is_open or row.wish in UNWANTED:
                return chunks.drop(connection, chunk, why=str(row.state), now=now)
            return chunks.offer_again(connection, chunk, why=loss, now=now)
