"""Log lines of the programs that keep logs: time, level, place, event, fields, on one line of stderr.

    2026-11-20T10:00:00Z INFO worker.chunk chunk stored job=4k2 chunk=17 images=96 seconds=61.4

Any program may call `configure` once, at its start. Libraries speak from WARNING on, unless the level is DEBUG. What
this process knows and nobody may read (passwords, keys) is blotted out of every line, whoever wrote it.
"""

import logging
import re
import sys
import time
from collections.abc import Collection

from storage.settings import secrets_here, without_password

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CHATTY = ("celery", "kombu", "amqp", "urllib3", "botocore", "boto3", "filelock", "httpx", "httpcore", "PIL")
_LIMIT = 300  # characters of one field
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
# What AWS and the hub take for proof of who asks, as their libraries print it at DEBUG.
_BEARER = re.compile(
    r"((?:authorization|x-amz-security-token|x-amz-signature|signature|cookie)['\"]?\s*[:=]\s*(?:b?['\"])?)"
    r"(?:(?:bearer|basic|aws4-hmac-sha256)\s+)?[^\s'\"&]+",
    re.IGNORECASE,
)


class LineFormatter(logging.Formatter):
    """An event and the fields of its `extra`, on one line; a traceback follows on its own."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%SZ"
    default_msec_format = ""

    def __init__(self, *, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = (
            re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True)))) if secrets else None
        )

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback if there is one, without secrets."""
        text = super().format(record)
        text = self._secrets.sub("***", text) if self._secrets else text
        return _BEARER.sub(r"\1***", _URL.sub(lambda found: without_password(found[0]), text))

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
    handler.setFormatter(LineFormatter(secrets=secrets_here()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel("DEBUG" if level == "DEBUG" else "WARNING")


def _shown(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)
    text = text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"
    return repr(text) if not text or any(sign.isspace() for sign in text) else text
