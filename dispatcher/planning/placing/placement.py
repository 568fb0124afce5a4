"""Which work goes to which worker next. Pure: whose turn it is chooses the job, warmth the worker within it.

One predicate says why a worker does not get a piece of work. `choose` takes the first pair for which it says nothing,
and `explain` is what `farm why` prints, so that they cannot disagree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dispatcher.planning.placing.reasons import Reason, WhyNot
from dispatcher.planning.placing.turns import CLASSES, Turn
from dispatcher.wording import counted

SEAT_CHUNKS: Final = 2  # per worker: one running, one waiting; a more urgent class does not count what waits below it
COLD_LOAD_S: Final = 20.0  # what loading a pipeline is taken to cost


@dataclass(frozen=True, slots=True)
class Load:
    """A chunk that was issued to a worker and is not recorded."""

    job: str  # its name, for people
    chunk: int
    rank: int  # of its class


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """A live worker, as far as placement cares."""

    node: str
    boot: str
    device_type: str
    device_key: str = ""
    threads: int = 1
    resident: frozenset[str] = frozenset()  # digests of loaded models
    running: Load | None = None
    waiting: tuple[Load, ...] = ()
    wish: str | None = None  # drain | stop
    rests: Mapping[str, str] = field(default_factory=dict)  # digest of a checkpoint -> until when, for people
    expects: str | None = None  # the interactive job whose models it reads: its images come next

    def ahead(self, rank: int) -> int:
        """How many chunks go before a new one of that class."""
        return (self.running is not None) + sum(load.rank <= rank for load in self.waiting)

    def has_room(self, rank: int, *, again: bool = False) -> bool:
        """Whether a chunk of that class may come: one waits at most of its class or a more urgent one.

        All that waits is counted as well, since a job that aged sends more urgently than its class says. What comes
        `again` after it was lost may wait as one more: else its turn would come a whole chunk later.
        """
        return self.ahead(rank) < SEAT_CHUNKS + again and len(self.waiting) < len(CLASSES) - rank + again


@dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """Work of one job that may be issued now."""

    job: str
    name: str  # of the job, for people
    user: str
    turn: Turn
    chunk: int | None  # a chunk that is ready, or None for the next one to be cut
    model: str | None  # digest of the checkpoint, None while unknown
    device_type: str | None  # where the plan is frozen, else None
    too_large: Mapping[str, str] = field(default_factory=dict)  # `device_key` -> the smallest plan that it cannot hold
    awaits: int | None = None  # the chunk under way that decides whether a smaller plan than these will be allowed
    again: bool = False  # its images were with a worker before, and were lost
    avoid: frozenset[str] = frozenset()  # nodes that failed this chunk
    lost_on: frozenset[str] = frozenset()  # nodes that lost it by nobody's fault

    @property
    def order(self) -> tuple[object, ...]:
        """To sort by: whose turn it is; within a job ready chunks before new ones."""
        return (*self.turn.order, self.job, self.chunk is None, self.chunk or 0)


@dataclass(frozen=True, slots=True)
class Send:
    """One decision."""

    seat: Seat
    want: Want


def choose(seats: Sequence[Seat], wants: Sequence[Want], *, chunk_s: float) -> Send | None:
    """The next thing to issue, or None when no worker has room for anything.

    The worker is the one that would begin soonest: what goes first there, plus a load where the model is cold.

    Args:
        seats: Live workers.
        wants: At most one entry a ready chunk, and one a job that has more to cut.
        chunk_s: Seconds that a chunk takes.
    """
    for want in sorted(wants, key=lambda want: want.order):
        free = [seat for seat in seats if why_not(seat, want, seats=seats) is None]
        if free:
            return Send(min(free, key=lambda seat: (_begins_in(seat, want, chunk_s), seat.node)), want)
    return None


def why_not(seat: Seat, want: Want, *, seats: Sequence[Seat]) -> WhyNot | None:
    """Why this worker does not get this work now; None: it may, and does when the work's turn comes.

    Args:
        seat: The worker.
        want: The work.
        seats: All live workers, this one included.
    """
    checks: tuple[Callable[[], WhyNot | None], ...] = (
        lambda: _unsuited(seat, want), lambda: _rests(seat, want),
        lambda: _was_here(seat, want, seats), lambda: _busy(seat, want),
    )  # fmt: skip
    return next((found for check in checks if (found := check()) is not None), None)


def explain(seat: Seat, want: Want, *, seats: Sequence[Seat], wants: Sequence[Want]) -> WhyNot | None:
    """What `why_not` says and, where only room is missing, whose turn it is when there is some."""
    found = why_not(seat, want, seats=seats)
    if found is not None and found.reason != Reason.BUSY:
        return found
    before = f"{found.says}; then" if found is not None else "now"
    for other in sorted(wants, key=lambda one: one.order):
        if other.order >= want.order:
            break
        theirs = why_not(seat, other, seats=seats)
        if other.job != want.job and (theirs is None or theirs.reason == Reason.BUSY):
            reason, rule = _turn(other, want)
            return WhyNot(reason, f"{before} job {other.name} of {other.user}: {rule}")
    return found


def fits_nowhere(want: Want, seats: Sequence[Seat]) -> bool:
    """Whether live devices of its kind are there, and none of them can hold any plan that the work may ever have."""
    kind = [seat for seat in seats if want.device_type in (None, seat.device_type)]
    return bool(kind) and want.awaits is None and all(seat.device_key in want.too_large for seat in kind)


def _unsuited(seat: Seat, want: Want) -> WhyNot | None:
    """What neither waiting nor another order of things would change."""
    if want.device_type not in (None, seat.device_type):
        return WhyNot(Reason.DEVICE_TYPE, f"is a {seat.device_type} device; the job's plan is for {want.device_type}")
    if seat.wish is not None:
        return WhyNot(Reason.DRAINS, "is drained" if seat.wish == "drain" else "is drained, and stopped at once")
    plan = want.too_large.get(seat.device_key)
    if plan is not None and want.awaits is not None:
        says = f"ran out of memory with {plan}; a smaller plan may be taken once chunk {want.awaits} has come back"
        return WhyNot(Reason.UNDECIDED, says)
    if plan is not None:
        return WhyNot(Reason.TOO_LARGE, f"ran out of memory with {plan}, and no smaller plan is allowed")
    return None


def _rests(seat: Seat, want: Want) -> WhyNot | None:
    until = seat.rests.get(want.model or "")
    return None if until is None else WhyNot(Reason.RESTS, f"rests until {until}, after failures with this model")


def _was_here(seat: Seat, want: Want, seats: Sequence[Seat]) -> WhyNot | None:
    """Who failed a chunk gets it again only where nobody else ever could; who lost it, where nobody else can now.

    A loss is nobody's fault: a chunk that several workers lost would otherwise wait behind a whole chunk of the last.
    """
    if seat.node not in want.avoid and seat.node not in want.lost_on:
        return None
    sound = [other for other in seats if other.node not in want.avoid and _unsuited(other, want) is None]
    if seat.node in want.avoid:
        return WhyNot(Reason.FAILED_HERE, f"failed chunk {want.chunk} before; others are there") if sound else None
    fresh = any(other.node not in want.lost_on and not (_rests(other, want) or _busy(other, want)) for other in sound)
    return WhyNot(Reason.LOST_HERE, f"lost chunk {want.chunk} before; others have room") if fresh else None


def _busy(seat: Seat, want: Want) -> WhyNot | None:
    if seat.expects is not None and want.turn.rank > 0:
        return WhyNot(Reason.HIGHER_CLASS, f"keeps its place for {seat.expects}, which is {CLASSES[0]}")
    if seat.has_room(want.turn.rank, again=want.again):
        return None
    running = f"runs {_named(seat.running)}" if seat.running is not None else "is busy"
    waiting = min(seat.waiting, key=lambda load: load.rank, default=None)
    return WhyNot(Reason.BUSY, running if waiting is None else f"{running}, {_named(waiting)} waits")


def _named(load: Load) -> str:
    return f"{load.job} chunk {load.chunk}"


def _turn(other: Want, want: Want) -> tuple[Reason, str]:
    """Which rule lets another job go first."""
    if other.turn.rank != want.turn.rank:
        return Reason.HIGHER_CLASS, f"{CLASSES[other.turn.rank]} goes before {CLASSES[want.turn.rank]}"
    if other.user != want.user:
        theirs, mine = other.turn.user_in_flight, want.turn.user_in_flight
        more = f"{counted(theirs, 'chunk')} under way, {want.user} has {mine}"
        return Reason.OTHER_USER, more if theirs != mine else "has waited longer"
    theirs, mine = other.turn.in_flight, want.turn.in_flight
    more = f"{counted(theirs, 'chunk')} under way, this one has {mine}"
    return Reason.OTHER_JOB, more if theirs != mine else "is older"


def _begins_in(seat: Seat, want: Want, chunk_s: float) -> float:
    cold = want.model is not None and want.model not in seat.resident
    return seat.ahead(want.turn.rank) * chunk_s + cold * COLD_LOAD_S
