"""What the life file of a node means: fine, hung, beyond help, or on a broken device. Pure: the clock is an argument.

Celery starts a new child for a dead one, so a hung child only has to be killed. But if the tracker that Python's
spawned processes share dies with the child, the parent lives on, answers pings, and never has a child again: only a
new node helps. The sign is that a child is dead and the node has no process below it any more.
"""

from dataclasses import dataclass
from typing import Final, Literal

from worker.child.life import DEVICE_BROKEN, Life, Parent

SILENT_S: Final = 60.0  # without a beat of a child that should be able to
FIRST_BEAT_S: Final = 300.0  # of a child that imports torch and wakes its device on a busy host
EMPTY_S: Final = 10.0  # without any process below the node: Celery starts a new child at once
SLOW_S: Final = 120.0  # between a child's death and the first line of the next one; two or three are usual
BROKEN_EXITS: Final = 3
BROKEN_WINDOW_S: Final = 600.0
_FLOORS: Final = {  # whatever the scale
    SILENT_S: 30.0, FIRST_BEAT_S: 60.0, EMPTY_S: 3.0, SLOW_S: 60.0, BROKEN_WINDOW_S: 60.0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is wrong with a node and must be done: kill the child, start the node anew, or leave it alone for good."""

    action: Literal["kill child", "restart", "quarantine"]
    reason: str  # for people


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What the supervisor sees of one node at one moment."""

    now: float  # seconds, monotonic
    node: int  # pid of the Celery node
    parent: Parent | None
    life: Life | None
    alive: bool  # whether the child of `life` is
    dead_since: float | None  # when it was first seen dead
    barren: bool  # no process lives below the node, as far as the kernel says
    watched_since: float  # exits before that are of another farm-worker


def judge(sight: Sight, *, scale: float) -> Finding | None:
    """Say what is wrong, if something is.

    Args:
        sight: What is seen.
        scale: Multiplies every limit (`Settings.time_scale`).
    """
    life, parent = sight.life, sight.parent
    if parent is None or parent.pid != sight.node:
        return None  # it waits for the broker, and has nothing to watch
    if life is None or life.parent != sight.node:
        return _late(sight, parent.since, limit=FIRST_BEAT_S, scale=scale, what="no child came up")
    if broken_exits(sight, scale=scale) >= BROKEN_EXITS:
        return Finding(action="quarantine", reason=f"its device broke {BROKEN_EXITS} times in ten minutes")
    if not sight.alive:
        since = sight.now if sight.dead_since is None else sight.dead_since
        limit = EMPTY_S if sight.barren else SLOW_S
        return _late(sight, since, limit=limit, scale=scale, what="its child died and no other came up")
    return _judge_child(sight, life, scale=scale)


def broken_exits(sight: Sight, *, scale: float) -> int:
    """How many children of the node exited of late because of the device."""
    if sight.life is None:
        return 0
    begin = max(sight.watched_since, sight.now - scaled(BROKEN_WINDOW_S, scale))
    last = sight.life.verdict == DEVICE_BROKEN and not sight.alive and sight.life.started >= sight.watched_since
    return sum(at >= begin for at in sight.life.broken) + last


def scaled(limit: float, scale: float) -> float:
    """One of the limits above, never so short that a busy host looks like a dead one."""
    return max(_FLOORS[limit], limit * scale)


def _judge_child(sight: Sight, life: Life, *, scale: float) -> Finding | None:
    """A child that lives: a thread that loads a model may keep the link from beating, so a deadline goes first."""
    if life.deadline:
        over = sight.now - life.deadline
        return Finding(action="kill child", reason=f"no progress, {over:.1f} s over its limit") if over > 0 else None
    if not life.beat:
        return _late(sight, life.started, limit=FIRST_BEAT_S, scale=scale, what="its child never beat")
    return _late(sight, life.beat, limit=SILENT_S, scale=scale, what="its child does not beat any more")


def _late(sight: Sight, since: float, *, limit: float, scale: float, what: str) -> Finding | None:
    waited = sight.now - since
    return Finding(action="restart", reason=f"{what} for {waited:.0f} s") if waited > scaled(limit, scale) else None
