"""The dispatcher's process: four threads over one SQL truth.

    rounds (main thread)    lead ─► hear workers ─► wishes, orders ─► take back what is lost ─► feed; every second
    records (one thread)    a Celery worker on the queue `record`: manifest ─► rows
    notes (one thread)      how jobs and chunks ended ─► the store, which may be slow
    judging (one thread)    images of complete jobs, held against their quality rules ─► done, or next takes

All write only behind the leader's fence. None remembers anything that SQL, the store or the next heartbeat would
not tell again, so the process may be killed at any line.
"""

import logging
import threading
import time
from collections.abc import Callable

from dispatcher.planning.sessions import STORED_GRACE_S, Sessions
from dispatcher.quality.judging import Judge
from dispatcher.service.broker import Broker
from dispatcher.service.feeding.feeder import Feeder
from dispatcher.service.lead import TAKEOVER_S, Leadership
from dispatcher.service.reconciler import Reconciler
from dispatcher.service.recording.noting import Notes
from dispatcher.service.recording.recorder import Recorder
from dispatcher.service.recording.records import RecordConsumer
from dispatcher.service.wishes import Wishes
from storage.blobs import BlobStore
from storage.errors import FarmError, StoreAway, TransientError
from storage.settings import Settings
from storage.spec_store import SpecStore
from storage.sql import Database
from storage.sql.leading import NotLeading
from storage.wire.keys import new_id
from storage.wire.messages import Heartbeat, Orders

log = logging.getLogger(__name__)
NEVER = float("-inf")
MIN_PAUSE_S = 0.05  # between two rounds, however many chunks end
_LAST_NOTES_S = 5.0  # that the end waits for them; what is missing is written after the next start
_AWAY = "away"
_FROZEN = 1 / 3  # of a silence: after a longer gap between two rounds we were the ones who did not listen


class Dispatcher:
    """Feeder, recorder and reconciler of one farm."""

    def __init__(self, settings: Settings, database: Database, store: BlobStore, *, broker_url: str) -> None:
        scale = settings.time_scale
        self._silence_s = settings.silence_s * scale
        self._tick_s = settings.tick_s * scale
        self._broker = Broker(broker_url)
        self._lead = Leadership(database, takeover_s=TAKEOVER_S * scale)
        fence = self._lead.fence
        recorder = Recorder(database, store, fence=fence, live=lambda: self._live, scale=scale)
        self._wishes = Wishes(
            database, self._broker, fence=fence, stop_after_failures=settings.stop_after_failures,
            chunk_s=settings.chunk_s,
        )  # fmt: skip
        self._reconciler = Reconciler(database, store, self._broker, recorder, scale=scale)
        self._feeder = Feeder(
            database, self._broker, SpecStore(store), chunk_s=settings.chunk_s, give_up=recorder.give_up,
            ageing_s=settings.ageing_s * scale,
        )  # fmt: skip
        self._notes = Notes(database, store, fence=fence)
        self._judge = Judge(database, SpecStore(store), fence=fence, chunk_s=settings.chunk_s)
        self._due = threading.Event()  # set to begin the next round early
        self._news = threading.Event()  # set when there may be something to judge
        self._records = RecordConsumer(broker_url, recorder, on_record=self._hurry)
        self._sessions = Sessions(
            silence_s=self._silence_s, idle_loss_s=settings.idle_loss_s * scale, grace_s=STORED_GRACE_S * scale
        )
        self._live: frozenset[str] = frozenset()  # nodes; read by the thread of records
        self._epoch = new_id()
        self._marked_at = NEVER  # seconds, monotonic: since then the broker remembers
        self._forgot = False  # the broker lost its memory, and what only it knew is not taken back yet
        self._round_at = NEVER  # seconds, monotonic
        self._stop = threading.Event()
        self._away: FarmError | None = None

    def run(self) -> None:
        """Work until `stop` is called from a signal handler or another thread."""
        self._records.start()
        notes = threading.Thread(target=self._note, name="notes", daemon=True)
        notes.start()
        judging = threading.Thread(target=self._judge_jobs, name="judging", daemon=True)
        judging.start()
        try:
            while not self._stop.is_set():
                self._due.clear()
                self._guarded_round(time.monotonic())
                self._stop.wait(MIN_PAUSE_S)
                self._due.wait(self._tick_s)
        finally:
            self._records.stop()
            judging.join(timeout=_LAST_NOTES_S)
            notes.join(timeout=_LAST_NOTES_S)
            try:
                self._lead.give_up()
            except TransientError as error:
                log.warning("lead kept", extra={"why": str(error)})

    def stop(self) -> None:
        """End after the current round."""
        self._stop.set()
        self._hurry()

    def round(self, now: float) -> None:
        """One round of everything. `now` is monotonic seconds.

        Raises:
            FarmError: A part is away; the next round tries again.
        """
        if now - self._round_at > self._silence_s * _FROZEN:
            self._sessions.deaf()
        self._round_at = now
        if not self._lead.seek():
            self._sessions.deaf()
            return
        workers = self._hear(now)
        stops = self._wishes.fulfil()
        self._broker.order(
            {beat.node: Orders(stop_jobs=stops.jobs, stop=beat.node in stops.nodes) for beat in workers}
        )  # fmt: skip
        self._reconciler.take_back(self._sessions, fence=self._lead.fence, now=now, forgot=self._forgot)
        self._forgot = False
        self._feeder.feed(workers, fence=self._lead.fence)

    def _hear(self, now: float) -> list[Heartbeat]:
        """Listen to the broker. Returns the last words of all live workers."""
        reading = self._broker.hear()
        if reading.epoch != self._epoch:
            self._forgot = self._forgot or self._marked_at > NEVER
            log.info("broker marked", extra={"epoch": self._epoch, "forgot": self._forgot})
            self._broker.mark(self._epoch)
            self._marked_at = now
        self._sessions.hear(reading.heartbeats, now=now, complete=now - self._marked_at > self._silence_s)
        self._broker.forget(self._sessions.gone(now=now))
        workers = self._sessions.live(now=now)
        self._live = frozenset(beat.node for beat in workers)
        return workers

    def _note(self) -> None:
        """Tell the store what was decided, until the end and once after it."""
        why = ""
        while True:
            is_last = self._stop.wait(self._tick_s)
            why = self._attempt("notes", self._notes.write, before=why)
            if is_last:
                return

    def _hurry(self) -> None:
        self._due.set()
        self._news.set()

    def _judge_jobs(self) -> None:
        """Judge complete jobs until the end. What is broken off there is begun again by the next leader."""
        why = ""
        while not self._stop.is_set():
            self._news.clear()
            why = self._attempt("judging", self._judge_all, before=why)
            self._news.wait(self._tick_s)

    def _judge_all(self) -> None:
        if self._judge.judge():
            self._due.set()

    def _attempt(self, name: str, work: Callable[[], object], *, before: str) -> str:
        """Do a thread's work if we lead. What it raises is logged once and ends no thread: the next attempt goes on.

        Args:
            name: Of the thread.
            work: What it does.
            before: What the attempt before returned.

        Returns:
            What kept it from its end; "" for nothing.
        """
        try:
            if self._lead.leads:
                work()
        except FarmError as error:
            if before != _AWAY:
                log.warning(f"{name} put off", extra={"why": str(error)})
            return _AWAY
        except Exception as error:  # a bug, or a library's: nobody would start this thread again
            if before != repr(error):
                log.exception(f"{name} broken off")
            return repr(error)
        return ""

    def _guarded_round(self, now: float) -> None:
        try:
            self.round(now)
        except NotLeading:
            self._sessions.deaf()
        except FarmError as error:
            if str(error) != str(self._away):
                log.warning("part away", extra={"why": str(error)})
            if not isinstance(error, StoreAway) or isinstance(self._away, StoreAway):  # one hiccup of a store is none
                self._sessions.deaf()
            self._away = error
        else:
            if self._away is not None:
                log.info("all parts answer")
            self._away = None
