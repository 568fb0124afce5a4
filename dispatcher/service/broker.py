"""The dispatcher's line to Redis: it hears workers, gives orders, sends chunks. Nothing here is remembered by us."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis
from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from storage.errors import BrokerAway, InvalidSetting
from storage.settings import without_password
from storage.states import Priority
from storage.wire.celery_app import RENDER, VISIBILITY_S, make_app
from storage.wire.keys import EPOCH_KEY, REDIS_PREFIX, WORKER_KEYS, orders_key, token_key, worker_key, worker_queue
from storage.wire.messages import ChunkMessage, Heartbeat, Orders, parse_heartbeats

_TIMEOUT_S = 5.0
_ORDERS_LIVE_S = 60
BEAT_LIVES_S: Final = 120  # as workers set it with every beat
_QUARANTINE_KEYS = REDIS_PREFIX + "quarantine:"
# Kombu keeps a list per step of 0, 3, 6, 9 of a queue and serves the lowest first; a worker holds one message.
PRIORITIES: Final[Mapping[Priority, int]] = {Priority.INTERACTIVE: 0, Priority.NORMAL: 3, Priority.BACKGROUND: 6}


@dataclass(frozen=True, slots=True)
class Reading:
    """What Redis said at one moment."""

    epoch: str | None  # whoever wrote it; None right after Redis lost its memory
    heartbeats: list[Heartbeat]


class Broker:
    """Redis, as the dispatcher and the CLI use it. Every method raises BrokerAway when it does not answer."""

    def __init__(self, url: str) -> None:
        self.address = without_password(url)
        self._url = url
        try:
            self._redis = redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        except ValueError:
            raise InvalidSetting("FARM_BROKER_URL", self.address, "must be redis://[:PASSWORD@]HOST:PORT/DB") from None
        self._app: Celery | None = None

    def hear(self) -> Reading:
        """Read the epoch and all heartbeats."""
        with self._answering():
            keys = [key.decode() for key in self._redis.scan_iter(match=WORKER_KEYS + "*", count=500)]
            values: list[Any] = self._redis.mget([EPOCH_KEY, *keys])
        beats = [value for value in values[1:] if value is not None]
        return Reading(None if values[0] is None else values[0].decode(), parse_heartbeats(beats))

    def mark(self, epoch: str) -> None:
        """Write the epoch: if it is gone or another one later, Redis lost its memory."""
        with self._answering():
            self._redis.set(EPOCH_KEY, epoch)

    def order(self, orders: dict[str, Orders]) -> None:
        """Overwrite the orders of some workers."""
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            for node, order in orders.items():
                pipe.set(orders_key(node), order.model_dump_json(), ex=_ORDERS_LIVE_S)
            pipe.execute()

    def forget(self, nodes: Iterable[str]) -> None:
        """Remove the heartbeats of workers that are gone."""
        with self._answering():
            for node in nodes:
                self._redis.delete(worker_key(node), orders_key(node))

    def allow(self, job: str, chunk: int, attempt: int) -> None:
        """Put down the token that lets one delivery of this attempt run."""
        with self._answering():
            self._redis.set(token_key(job, chunk, attempt), "1", ex=VISIBILITY_S)

    def forbid(self, job: str, chunk: int, attempt: int) -> None:
        """Take the token back: whoever gets the message now drops it."""
        with self._answering():
            self._redis.delete(token_key(job, chunk, attempt))

    def withdraw(self, job: str, chunk: int, attempt: int) -> bool:
        """Take the token back. Returns True if it was still there: nobody ran this attempt, and nobody will."""
        with self._answering():
            taken: int = self._redis.delete(token_key(job, chunk, attempt))
        return taken == 1

    def ages(self, beats: Iterable[Heartbeat]) -> dict[str, float]:
        """Seconds since each worker last beat, by the time that its key still has to live."""
        names = [beat.node for beat in beats]
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.pttl(worker_key(name))
            left: list[int] = pipe.execute()
        return {name: BEAT_LIVES_S - ms / 1000 for name, ms in zip(names, left, strict=True) if ms >= 0}

    def quarantined(self) -> dict[str, str]:
        """Devices that their hosts do not start again, by node, and why."""
        with self._answering():
            keys = [key.decode() for key in self._redis.scan_iter(match=_QUARANTINE_KEYS + "*", count=500)]
            values: list[Any] = self._redis.mget(keys) if keys else []
        found = zip(keys, values, strict=True)
        return {key.removeprefix(_QUARANTINE_KEYS): _reason(raw) for key, raw in found if raw is not None}

    def send(
        self, message: ChunkMessage, *, node: str, boot: str, label: str, priority: Priority = Priority.NORMAL
    ) -> None:
        """Publish a chunk to one boot of one worker, ahead of all that waits there in a less urgent class.

        `label` is what Flower shows.
        """
        name = worker_queue(node, boot)
        with self._answering():
            self._celery().send_task(
                RENDER,
                kwargs={"message": message.model_dump(mode="json")},
                queue=Queue(name, exchange=Exchange(""), routing_key=name),
                argsrepr=label,
                kwargsrepr="",
                priority=PRIORITIES[priority],
            )

    def _celery(self) -> Celery:
        if self._app is None:
            self._app = make_app(self._url, role="dispatcher")
        return self._app

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OperationalError, OSError) as error:
            raise BrokerAway(
                self.address, str(error).splitlines()[0] if str(error) else type(error).__name__
            ) from error


def _reason(raw: bytes) -> str:
    try:
        return str(json.loads(raw)["reason"])
    except (ValueError, TypeError, KeyError):
        return "its device broke again and again"
