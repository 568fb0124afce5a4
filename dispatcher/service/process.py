"""The dispatcher's process: two threads over one SQL truth.

    rounds (main thread)    lead ─► hear workers ─► wishes, orders ─► take back what is lost ─► feed; every second
    records (one thread)    a Celery worker on the queue `record`: manifest ─► rows

Both write only behind the leader's fence. Neither remembers anything that SQL, the store or the next heartbeat would
not tell again, so the process may be killed at any line.
"""

import logging
import threading
import time

from dispatcher.planning.sessions import Sessions
from dispatcher.service.broker import Broker
from dispatcher.service.feeder import Feeder
from dispatcher.service.lead import Leadership
from dispatcher.service.reconciler import Reconciler
from dispatcher.service.recorder import Recorder
from dispatcher.service.records import RecordConsumer
from storage.blobs import BlobStore
from storage.errors import FarmError, TransientError
from storage.settings import Settings
from storage.spec_store import SpecStore
from storage.sql import Database
from storage.sql.leading import NotLeading
from storage.wire.keys import new_id
from storage.wire.messages import Orders

log = logging.getLogger(__name__)
NEVER = float("-inf")
MIN_PAUSE_S = 0.05  # between two rounds, however many chunks end


class Dispatcher:
    """Feeder, recorder and reconciler of one farm."""

    def __init__(self, settings: Settings, database: Database, store: BlobStore, *, broker_url: str) -> None:
        self._settings = settings
        self._database = database
        self._broker = Broker(broker_url)
        self._lead = Leadership(database)
        recorder = Recorder(database, store, fence=self._lead.fence)
        self._reconciler = Reconciler(database, store, self._broker, recorder, max_attempts=settings.max_attempts)
        self._feeder = Feeder(database, self._broker, SpecStore(store), chunk_s=settings.chunk_s)
        self._due = threading.Event()  # set to begin the next round early
        self._records = RecordConsumer(broker_url, recorder, on_record=self._due.set)
        self._sessions = Sessions(silence_s=settings.silence_s, idle_loss_s=settings.idle_loss_s)
        self._epoch = new_id()
        self._marked_at = NEVER  # seconds, monotonic: since then the broker remembers
        self._stop = threading.Event()
        self._away: str | None = None

    def run(self) -> None:
        """Work until `stop` is called from a signal handler or another thread."""
        self._records.start()
        try:
            while not self._stop.is_set():
                self._due.clear()
                self._guarded_round(time.monotonic())
                self._stop.wait(MIN_PAUSE_S)
                self._due.wait(self._settings.tick_s)
        finally:
            self._records.stop()
            try:
                self._lead.give_up()
            except TransientError as error:
                log.warning("lead kept", extra={"why": str(error)})

    def stop(self) -> None:
        """End after the current round."""
        self._stop.set()
        self._due.set()

    def round(self, now: float) -> None:
        """One round of everything. `now` is monotonic seconds.

        Raises:
            FarmError: A part is away; the next round tries again.
        """
        if not self._lead.seek():
            self._sessions.deaf()
            return
        try:
            reading = self._broker.hear()
        except TransientError:
            self._sessions.deaf()
            raise
        forgot = self._marked_at > NEVER and reading.epoch != self._epoch
        if reading.epoch != self._epoch:
            log.info("broker marked", extra={"epoch": self._epoch, "forgot": forgot})
            self._broker.mark(self._epoch)
            self._marked_at = now
        self._sessions.hear(reading.heartbeats, now=now, complete=now - self._marked_at > self._settings.silence_s)
        self._broker.forget(self._sessions.gone(now=now))
        workers = self._sessions.live(now=now)
        stop_jobs = self._reconciler.fulfil_wishes(fence=self._lead.fence)
        self._broker.order({beat.node: Orders(stop_jobs=stop_jobs) for beat in workers})
        self._reconciler.take_back(self._sessions, fence=self._lead.fence, now=now, forgot=forgot)
        self._feeder.feed(workers, fence=self._lead.fence)

    def _guarded_round(self, now: float) -> None:
        try:
            self.round(now)
        except NotLeading:
            return
        except FarmError as error:
            if str(error) != self._away:
                log.warning("part away", extra={"why": str(error)})
            self._away = str(error)
        else:
            if self._away is not None:
                log.info("all parts answer")
            self._away = None
