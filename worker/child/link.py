"""The child's one line to Redis: a thread that beats, reads orders, takes tokens and sends what the rest has to say.

The device's thread never speaks to the broker: a broker that hangs would hang the rendering. It leaves its state in
the Level and, for the two things that need an answer or must be sent in order (a token, a record), leaves a request
that this thread carries out between two beats. A broker that is away costs beats, never images.
"""

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from storage.wire import keys
from storage.wire.celery_app import RECORD
from storage.wire.messages import Heartbeat, Holding, Orders
from worker.child.level import Level

log = logging.getLogger(__name__)

HEARTBEAT_TTL_S: Final = 120
TELL_S: Final = 60  # how long a child tells of the one before it: an overwritten beat must not lose it
TELL_BEATS: Final = 20  # at least
EVENT = "task-denoising"  # Flower shows it as the state DENOISING, with `result` beside it
_SOCKET_S = 5.0
_EVENT_S = 1.0
_RIVAL_BEATS = 3  # that another boot of our name may squeeze in before we take it for real
_AWAY = (redis.RedisError, OSError, OperationalError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What a child tells of itself in every beat."""

    node: str
    boot: str
    child: str
    device_type: str
    device: str
    threads: int
    memory_bytes: int
    renderer: str


def connect(broker_url: str) -> "redis.Redis":
    """A client that never hangs for long and does not retry by itself."""
    return redis.Redis.from_url(broker_url, socket_timeout=_SOCKET_S, socket_connect_timeout=_SOCKET_S)


class Link(threading.Thread):
    """The helper thread. `start` it once; `close` it last."""

    def __init__(self, app: Celery, broker_url: str, *, level: Level, identity: Identity, beat_s: float) -> None:
        super().__init__(name="link", daemon=True)
        self._app = app
        self._redis = connect(broker_url)
        self._level = level
        self._identity = identity
        self._beat_s = beat_s
        self._requests: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._beat = 0
        self._epoch: str | None = None
        self._rival = 0
        self._reached = True
        self._told = 0  # beats that said how the child before this one died
        self._told_since = 0.0
        self._shown: tuple[str | None, str] = (None, "")
        self._event_at = 0.0

    def take_token(self, job: str, chunk: int, attempt: int) -> bool:
        """Spend the single-use permit of an attempt; False if there is none. Waits for a broker that is away."""
        key = keys.token_key(job, chunk, attempt)
        while not self._level.stopping.is_set():
            future = self._ask(lambda: self._redis.getdel(key) is not None)
            try:
                return bool(future.result())
            except _AWAY:
                self._level.stopping.wait(self._beat_s)
        return False

    def send_record(self, manifest: str) -> None:
        """Tell the dispatcher of a manifest, once. If that fails it finds the manifest by itself."""
        self._ask(lambda: self._send_record(manifest))

    def close(self) -> None:
        """Carry out what was asked, take the heartbeat away and end."""
        self._closing.set()
        self._ask(self._leave)
        self.join(timeout=_SOCKET_S)

    def run(self) -> None:
        """Beat on time; in between do what is asked."""
        due = time.monotonic()
        while not self._closing.is_set():
            if os.getppid() != self._parent:
                os._exit(1)  # the Celery parent died: nobody would hear of what we make
            wait = due - time.monotonic()
            if wait > 0:
                self._serve(wait)
                continue
            due = time.monotonic() + self._beat_s
            self._speak()
            self._level.life.note_beat(time.monotonic())
        while not self._requests.empty():
            self._serve(0)

    def start(self) -> None:
        """Start beating."""
        self._parent = os.getppid()
        super().start()

    def _ask(self, what: Callable[[], Any]) -> "Future[Any]":
        future: Future[Any] = Future()
        self._requests.put((what, future))
        return future

    def _serve(self, wait: float) -> None:
        try:
            what, future = self._requests.get(timeout=max(0.0, min(wait, 1.0)))
        except queue.Empty:
            return
        try:
            future.set_result(what())
        except Exception as error:  # noqa: BLE001  # it belongs to the one who asked
            future.set_exception(error)

    def _speak(self) -> None:
        try:
            self._send_beat()
            self._send_progress()
        except _AWAY as error:
            if self._reached:
                log.warning("broker away, rendering goes on", extra={"reason": error})
            self._reached = False
            return
        if not self._reached:
            log.info("broker back")
        self._reached = True

    def _send_beat(self) -> None:
        self._beat += 1
        me = self._identity
        level = self._level
        beat = Heartbeat.model_validate(
            {name: getattr(me, name) for name in me.__dataclass_fields__}
            | {"beat": self._beat, "holding": level.holding, "resident": list(level.resident), "epoch": self._epoch}
            | {"spooled": list(level.spooled), "ended": level.ended, "trouble": level.trouble or level.lacks}
        )
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(keys.worker_key(me.node), beat.model_dump_json(), ex=HEARTBEAT_TTL_S, get=True)
            pipe.get(keys.orders_key(me.node))
            pipe.get(keys.EPOCH_KEY)
            before, orders, epoch = pipe.execute()
        self._epoch = epoch.decode() if epoch else None
        wanted = _orders(orders)
        level.stop_jobs, level.stop_all = frozenset(wanted.stop_jobs), wanted.stop
        self._watch_rival(before)
        self._tell_of_the_dead()

    def _tell_of_the_dead(self) -> None:
        """A beat got through; drop what it said of the child before this one, once it was there long enough."""
        if self._level.ended is None:
            return
        self._told += 1
        self._told_since = self._told_since or time.monotonic()
        if self._told >= TELL_BEATS and time.monotonic() - self._told_since > TELL_S * self._level.scale:
            self._level.ended = None
            self._level.life.forget_earlier()

    def _watch_rival(self, before: bytes | None) -> None:
        """Two boots of one name that started at the same instant: the one with the greater boot id yields."""
        boot = _boot_of(before)
        rival = boot is not None and boot != self._identity.boot
        self._rival = self._rival + 1 if rival else 0
        if boot is not None and self._rival > _RIVAL_BEATS and self._identity.boot > boot:
            log.error("another worker beats under this name", extra={"node": self._identity.node})
            os.kill(self._parent, signal.SIGTERM)
            self._rival = 0

    def _send_progress(self) -> None:
        holding, task = self._level.holding, self._level.task_id
        if holding is None or task is None or time.monotonic() - self._event_at < _EVENT_S:
            return
        text = progress_text(holding)
        if (task, text) == self._shown:
            return
        with self._app.events.default_dispatcher(hostname=celery_name(self._identity.node)) as events:
            events.send(EVENT, uuid=task, result=text, retry=False)
        self._shown = (task, text)
        self._event_at = time.monotonic()

    def _send_record(self, manifest: str) -> None:
        try:
            self._app.send_task(RECORD, kwargs={"manifest": manifest}, queue=keys.RECORD_QUEUE, retry=False)
        except _AWAY as error:
            log.warning("record not sent, the dispatcher will look", extra={"manifest": manifest, "reason": error})

    def _leave(self) -> None:
        """A worker that ends in order is gone at once, not after a silence."""
        key = keys.worker_key(self._identity.node)
        try:
            if self._level.stopping.is_set() and _boot_of(self._redis.get(key)) == self._identity.boot:
                self._redis.delete(key)
        except _AWAY:
            return


def celery_name(node: str) -> str:
    """How Celery and Flower call a node."""
    return f"render@{node}"


def progress_text(holding: Holding) -> str:
    """What Flower shows beside a running chunk."""
    if holding.phase == "running" and holding.steps:
        return f"step {holding.step}/{holding.steps} · image {holding.images}/{holding.of}"
    return f"{holding.phase} · image {holding.images}/{holding.of}"


def _orders(raw: bytes | None) -> Orders:
    try:
        return Orders.model_validate_json(raw) if raw else Orders()
    except ValueError:
        return Orders()  # written by another version: carry on


def _boot_of(raw: object) -> str | None:
    try:
        return Heartbeat.model_validate_json(raw).boot if isinstance(raw, bytes) else None
    except ValueError:
        return None
