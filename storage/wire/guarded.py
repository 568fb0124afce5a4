"""Celery's consumer behind a door of our own: messages of the shape that this farm sends come in, others are dropped.

Celery's outer layer carries more than our messages need: time limits, dates, packing, bodies of any type. What is wrong
in there raises outside of what Celery catches, and ends the process that took the message, one message after another.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from celery.worker.consumer import Consumer
from kombu import Message

log = logging.getLogger(__name__)

MAX_BYTES: Final = 4 * 2**20  # of one body; a chunk's message has some hundred
_UNUSED: Final = ("eta", "expires", "group", "chord", "compression")  # parts of Celery's envelope
_NO_LIMITS: Final = (None, [None, None])


class GuardedConsumer(Consumer):  # type: ignore[misc, unused-ignore]
    """Drops what it cannot take up, says so, and goes on."""

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
                    problem = f"{type(error).__name__}: {str(error)[:200]}"
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
    if len(message.body) > MAX_BYTES:
        return f"has {len(message.body)} bytes, and {MAX_BYTES} are taken"
    if used := [name for name in _UNUSED if headers.get(name) is not None]:
        return f"has {used[0]}, which this farm does not send"
    if headers.get("timelimit") not in _NO_LIMITS:
        return "has a time limit, which this farm does not send"
    return None
