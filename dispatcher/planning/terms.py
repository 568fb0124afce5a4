"""What a user may say about when and how long a job runs: parsed once, at the door. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.errors import InvalidSpec
from storage.states import Priority

_AHEAD = re.compile(r"\+(\d{1,6})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """Under which terms a job runs; None: nothing was said."""

    priority: Priority | None = None
    deadline: float | None = None  # Unix seconds
    max_device_seconds: float | None = None

    def said(self) -> dict[str, Any]:
        """The columns of the job that were spoken of."""
        return {name: value for name in Terms.__slots__ if (value := getattr(self, name)) is not None}


def parse_terms(
    *, priority: str | None = None, deadline: str | None = None, max_device_hours: float | None = None, now: float
) -> Terms:
    """Read the words of a command line. Raises InvalidSpec."""
    return Terms(
        priority=None if priority is None else Priority(priority),
        deadline=None if deadline is None else parse_when(deadline, now=now),
        max_device_seconds=None if max_device_hours is None else max_device_hours * 3600,
    )


def hours(seconds: float) -> str:
    """Device hours for people: two decimals, or three digits of a small number."""
    found = seconds / 3600
    return f"{found:.2f}" if found >= 1 or not found else f"{found:.3g}"


def parse_when(text: str, *, now: float) -> float:
    """A moment as Unix seconds: an ISO time (this machine's zone unless it names one), or +90m, +2h, +1d from now.

    Raises:
        InvalidSpec: It is neither, or it has passed.
    """
    ahead = _AHEAD.fullmatch(text)
    try:
        moment = now + int(ahead[1]) * _UNITS_S[ahead[2]] if ahead else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        rule = "must be a time such as 2031-05-01T18:00, or +90m, +2h, +1d from now"
        raise InvalidSpec("--deadline", text, rule) from None
    if moment <= now:
        raise InvalidSpec("--deadline", text, "has passed; must be in the future, such as +2h")
    return moment
