"""Why nothing of a whole job may be issued, whatever workers there are. Pure."""

from datetime import datetime

from dispatcher.planning.placing.reasons import Reason, WhyNot
from dispatcher.planning.terms import hours
from storage.sql.jobs import JobRow
from storage.states import JobState, Wish

_ENDED = {
    JobState.DONE: "it is done: every image is made or has failed",
    JobState.FAILED: "it cannot be rendered: {reason}",
    JobState.CANCELLED: "its user cancelled it",
}
_STANDS = {
    JobState.PAUSED: (Reason.PAUSED, "its user paused it"),
    JobState.STOPPED: (Reason.STOPPED, "it stopped by itself: {reason}"),
}
_WISHES = {
    Wish.CANCEL: "its user cancelled it; the dispatcher's next round does so",
    Wish.DROP: "its user dropped it; the dispatcher's next round does so",
    Wish.PAUSE: "its user paused it; the dispatcher's next round does so",
    Wish.PAUSE_AFTER_CHUNKS: "its user paused it; what runs ends first",
}
_FINAL = (Wish.CANCEL, Wish.DROP)


def why_held(row: JobRow, *, now: float, under_way_s: float) -> WhyNot | None:
    """Why nothing of a job is issued now; None: that hangs on the workers.

    Args:
        row: The job.
        now: Unix seconds.
        under_way_s: Device seconds that its chunks with workers will take, estimated.
    """
    if not row.is_open:
        again = "; its failed images go out again with the dispatcher's next round" if row.retry is not None else ""
        short = "; its rules ask for more accepted images than there are" if row.short else ""
        return WhyNot(Reason.ENDED, _ENDED[row.state].format(reason=row.reason) + short + again)
    if row.state in _STANDS:
        reason, says = _STANDS[row.state]
        resumed = "; it was told to go on, and the dispatcher's next round does so" if row.wish == Wish.RESUME else ""
        return WhyNot(reason, says.format(reason=row.reason) + resumed)
    if row.wish in _FINAL or (row.wish in _WISHES and row.state != JobState.RESOLVING):
        return WhyNot(Reason.WISH, _WISHES[row.wish])
    if row.deadline is not None and now >= row.deadline:
        return WhyNot(Reason.DEADLINE, f"its deadline passed at {clock(row.deadline, now=now)}")
    allowed = row.max_device_seconds
    if allowed is not None and row.device_seconds + under_way_s >= allowed:
        spent = f"{hours(row.device_seconds)} of {hours(allowed)} device hours are spent"
        return WhyNot(Reason.BUDGET, f"{spent}, {hours(under_way_s)} more are under way" if under_way_s else spent)
    return None


def clock(moment: float, *, now: float) -> str:
    """A moment for people: the local time, with the date unless it is within a day."""
    shape = "%H:%M:%S" if abs(moment - now) < 20 * 3600 else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(moment).astimezone().strftime(shape)
