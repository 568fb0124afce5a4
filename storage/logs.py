"""Log lines of the programs that keep logs: time, level, place, event, fields, on one line of stderr.

    2026-11-20T10:00:00Z INFO worker.chunk chunk stored job=4k2 chunk=17 images=96 seconds=61.4

Any program may call `configure` once, at its start. Libraries speak from WARNING on, unless the level is DEBUG.
"""

import logging
import sys
import time

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CHATTY = ("celery", "kombu", "amqp", "urllib3", "botocore", "boto3", "filelock", "httpx", "httpcore", "PIL")
_LIMIT = 300  # characters of one field


class LineFormatter(logging.Formatter):
    """An event and the fields of its `extra`, on one line; a traceback follows on its own."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%SZ"
    default_msec_format = ""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is logging's
        """Put the fields behind the event."""
        fields = [
            f"{name}={_shown(value)}" for name, value in vars(record).items() if name not in _PLAIN and name != "data"
        ]  # "data" is Celery's, and repeats its message
        head = f"{self.formatTime(record)} {record.levelname} {record.name} {record.message}"
        return " ".join([head, *fields]).replace("\n", " ⏎ ")


def configure(level: str) -> None:
    """Send all logs of this process to stderr, from `level` on; safe to repeat."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel("DEBUG" if level == "DEBUG" else "WARNING")


def _shown(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)
    text = text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"
    return repr(text) if not text or any(sign.isspace() for sign in text) else text
