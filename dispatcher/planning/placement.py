"""Which work goes to which worker next. A pure function: fairness chooses the job, warmth the worker within it."""

from collections.abc import Sequence
from dataclasses import dataclass

SEAT_CHUNKS = 2  # per worker: one running, one waiting
COLD_LOAD_S = 20.0  # what loading a pipeline is taken to cost


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """A live worker, as far as placement cares."""

    node: str
    boot: str
    device_type: str
    resident: frozenset[str]  # digests of loaded models
    chunks: int  # issued to it and not recorded


@dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """Work of one job that may be issued now."""

    job: str
    chunk: int | None  # a chunk that is ready, or None for the next one to be cut
    model: str | None  # digest, None while unknown
    device_type: str | None  # where the plan is frozen, else None
    in_flight: int  # chunks of this job that workers have
    age: int  # 0 is the oldest job
    lost_on: frozenset[str] = frozenset()  # nodes that lost this chunk before


@dataclass(frozen=True, slots=True)
class Send:
    """One decision."""

    seat: Seat
    want: Want


def choose(seats: Sequence[Seat], wants: Sequence[Want], *, chunk_s: float) -> Send | None:
    """The next thing to issue, or None when no worker has room for anything.

    The job with the fewest chunks in flight goes first, the older one among equals; within it a ready chunk goes before
    a new one. The worker is the one that would begin soonest: what waits there, plus a load where the model is cold.
    A worker that lost the chunk before gets it again only if no other one is there.

    Args:
        seats: Live workers.
        wants: At most one entry a ready chunk, and one a job that has more to cut.
        chunk_s: Seconds that a chunk takes.
    """
    for want in sorted(wants, key=lambda want: (want.in_flight, want.age, want.chunk is None, want.chunk or 0)):
        fitting = [seat for seat in seats if want.device_type in (None, seat.device_type)]
        others = [seat for seat in fitting if seat.node not in want.lost_on]
        free = [seat for seat in others or fitting if seat.chunks < SEAT_CHUNKS]
        if free:
            return Send(min(free, key=lambda seat: (_begins_in(seat, want, chunk_s), seat.node)), want)
    return None


def _begins_in(seat: Seat, want: Want, chunk_s: float) -> float:
    cold = want.model is not None and want.model not in seat.resident
    return seat.chunks * chunk_s + cold * COLD_LOAD_S
