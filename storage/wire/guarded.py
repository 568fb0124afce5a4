"""Celery's consumer behind a door of our own: messages of the shape that this farm sends come in, others are dropped.

Celery's outer layer carries more than our messages need: time limits, dates, packing, bodies of any type. What is wrong
in there raises outside of what Celery catches, and ends the process that took the message, one message after another.
What is no envelope at all raises still earlier, where Kombu takes it from the list, and is dropped there.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import redis
from celery.worker.consumer import Consumer
from kombu import Message
from kombu.transport.redis import Channel, Transport

from storage.wire.celery_app import RECORD, RENDER

log = logging.getLogger(__name__)

MAX_BYTES: Final = 4 * 2**20  # of one body; a chunk's message has some hundred
_UNUSED: Final = ("eta", "expires", "group", "chord")  # parts of Celery's envelope
# What bytes of a stranger bring about; lost connections and what Redis complains of are other errors.
_BROKEN: Final = (LookupError, TypeError, ValueError, AttributeError, RecursionError, redis.DataError)
_NO_LIMITS: Final = (None, [None, None])
_TAKES: Final[dict[str, tuple[str, Any]]] = {RENDER: ("message", dict | str), RECORD: ("manifest", str)}  # by task


class PlainMessage(Channel.Message):  # type: ignore[misc, unused-ignore]
    """A message that is not packed: unpacking comes before any look at its size, and a small one may hold a big one."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        if payload["headers"].get("compression") is not None:
            raise ValueError("is packed, and this farm packs nothing")
        super().__init__(payload, channel=channel, **options)


class GuardedChannel(Channel):  # type: ignore[misc, unused-ignore]
    """Drops what lies in a queue's list and is no message; it is gone from there by then."""

    Message = PlainMessage

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except _BROKEN as error:
            log.error("message refused", extra={"reason": f"is no envelope: {_short(error)}"})
            return True


class GuardedTransport(Transport):  # type: ignore[misc, unused-ignore]
    """Redis as Kombu reads it, by guarded channels."""

    Channel = GuardedChannel


class GuardedConsumer(Consumer):  # type: ignore[misc, unused-ignore]
    """Drops what it cannot take up, says so, and goes on."""

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        """Celery's connection, with channels of ours."""
        line: Any = self.app.connection_for_read(heartbeat=heartbeat)
        line.create_transport = lambda: GuardedTransport(client=line)
        return self.ensure_connected(line)

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        """Celery's handler of messages, guarded."""
        handle = super().create_task_handler(*args, **options)

        def guarded(message: Message) -> None:
            problem = problem_of(message)
            if problem is None:
                try:
                    handle(message)
                except self.connection_errors + self.channel_errors:
                    raise
                except Exception as error:  # noqa: BLE001  # whatever a stranger's message brings about
                    problem = _short(error)
            if problem is not None:
                log.error("message refused", extra={"reason": problem})
                if not message.acknowledged:
                    message.reject_log_error(log, self.connection_errors)

        return guarded


def problem_of(message: Message) -> str | None:
    """What makes a message none of ours; None: Celery may read it."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    if message.content_type != "application/json":
        return f"is {str(message.content_type)[:100]!r} and not JSON"
    if len(message.body or "") > MAX_BYTES:
        return f"has {len(message.body)} bytes, and {MAX_BYTES} are taken"
    if used := [name for name in _UNUSED if headers.get(name) is not None]:
        return f"has {used[0]}, which this farm does not send"
    if headers.get("timelimit") not in _NO_LIMITS:
        return "has a time limit, which this farm does not send"
    return _misshapen(message, task=headers.get("task"))


def _misshapen(message: Message, *, task: object) -> str | None:
    """What of the body is not as this farm sends it: no places, one name, nothing to be done afterwards."""
    if not isinstance(task, str) or task not in _TAKES:
        return f"is for {str(task)[:100]!r}, which is no task of this farm"
    try:
        body = message.payload
    except Exception as error:  # noqa: BLE001  # whatever a decoder raises
        return f"cannot be read: {_short(error)}"
    name, kind = _TAKES[task]
    match body:
        case [[], {**named}, {**after}] if list(named) == [name] and isinstance(named[name], kind):
            return "asks for more to be done afterwards, which this farm does not" if any(after.values()) else None
    return f"has another body than {name!r} alone"


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
