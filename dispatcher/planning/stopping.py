"""When a job stops by itself, and what its user is told. Pure."""

from dataclasses import dataclass

from dispatcher.planning.terms import hours
from dispatcher.wording import counted
from storage.sql.jobs import JobRow

HOPELESS = 0.9  # share of the newest images that failed, from which going on is a waste


@dataclass(frozen=True, slots=True)
class Trend:
    """How the newest images of a job ended."""

    failed: int
    ended: int
    last: str  # why the newest of the failed ones did


def window(limit: int) -> int:
    """How many of the newest images tell whether a job is hopeless, where `limit` failures stop it."""
    return int(limit / HOPELESS) + 1


def new_failures(row: JobRow) -> int:
    """Failures since its user last said: go on."""
    return row.failed - row.forgiven


def why_stop(row: JobRow, *, now: float, limit: int, trend: Trend | None) -> str | None:
    """Why a job must not go on, and the next step; None while it may.

    Args:
        row: The job.
        now: Unix seconds.
        limit: Failures that stop a hopeless job.
        trend: Of its newest images; None where too few failed to look.
    """
    if row.max_device_seconds is not None and row.device_seconds >= row.max_device_seconds:
        spent = f"{hours(row.device_seconds)} of {hours(row.max_device_seconds)} device hours"
        return f"budget spent: {spent}; 'farm resume {row.id} --max-device-hours H' goes on"
    if row.deadline is not None and now >= row.deadline:
        return f"deadline passed; 'farm resume {row.id} --deadline WHEN' goes on"
    if trend is not None and new_failures(row) >= limit and trend.failed >= HOPELESS * trend.ended:
        return (
            f"{counted(new_failures(row), 'image')} failed, the last one: {trend.last}; see 'farm logs {row.id}',"
            f" then 'farm resume {row.id}' goes on and 'farm retry {row.id}' renders the failed ones again"
        )
    return None
