"""By which plan a device may render a piece of a job, as far as is known what does not fit it.

Limits are rare, so nothing is looked at (and no spec read) for a job whose checkpoints have none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from dispatcher.planning.cutting import cut, size_of
from dispatcher.planning.ladder import foot, plan_for, words
from dispatcher.planning.placing.placement import Seat
from storage.spec import Job
from storage.spec.plan import Plan, choose_plan
from storage.sql import chunks, jobs, plans, workers
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import JobRow
from storage.sql.lookups import plan_id
from storage.sql.workers import Limit
from storage.states import ChunkState


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What a chunk renders: one checkpoint, one size."""

    model: str  # name in the job file
    digest: str
    size: tuple[int, int]  # width, height in pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Misfits:
    """What cannot hold a piece."""

    devices: Mapping[str, str]  # `device_key` -> the smallest allowed plan, in words
    awaits: int | None  # as of a choice: until that chunk has come back, nothing is certain


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The plan for one piece on one device."""

    base: Plan  # of the job, for that size
    plan: Plan | None  # None: none that is allowed fits
    foot: Plan  # the smallest that is allowed
    awaits: int | None = None  # the chunk under way that decides whether a smaller one will be allowed
    frozen: bool  # the base is written down
    mixes: bool  # several plans may live in the job


def piece_of(row: JobRow, job: Job, chunk: ChunkRow | None) -> Piece | None:
    """What a ready chunk renders, or the next one to be cut; None over a long run of empty places."""
    assert row.models is not None
    if chunk is not None:
        assert chunk.model is not None
        place = job[next(iter(chunk.numbers))]
        assert place is not None  # empty places are in no chunk
        size = size_of(place, row.models[chunk.model])
        return Piece(model=chunk.model, digest=row.models[chunk.model].digest, size=size)
    first = cut(job, cursor=row.cursor, images=1, models=row.models)
    if first.model is None:
        return None
    return Piece(model=first.model, digest=row.models[first.model].digest, size=first.size)


def choose_for(
    connection: Connection, row: JobRow, job: Job, *, piece: Piece, seat: Seat, limits: Sequence[Limit] | None = None
) -> Choice:
    """The plan by which a device would render a piece of a job.

    Another plan than the frozen one is allowed where the job says so, or where the farm chose the batch itself and
    nothing was made by it: then it is frozen anew. While a worker may be making something by it, that is open.
    """
    pins, mixes = job.spec.plan, job.spec.smaller_plans
    frozen = jobs.plans(connection, [row.id]).get(row.id, {}).get(piece.size)
    base = frozen or choose_plan(
        pins, device_type=seat.device_type, threads=seat.threads, size=piece.size, company=job.company
    )  # fmt: skip
    known = workers.limits(connection) if limits is None else limits
    found = (seat.device_key, piece.digest, piece.size)
    tight = [limit.plan for limit in known if (limit.device, limit.model, limit.size) == found]
    if not tight:
        return Choice(base=base, plan=base, foot=base, frozen=frozen is not None, mixes=mixes)
    is_free = "batch" not in pins and (frozen is None or not plans.is_used(connection, row.id, piece.size, frozen))
    awaits = _under_way(connection, row, job, piece, frozen) if is_free and frozen is not None and not mixes else None
    may_shrink = mixes or (is_free and awaits is None)
    return Choice(
        base=base, plan=plan_for(base, tight, may_shrink=may_shrink, pins=pins),
        foot=foot(base, may_shrink=may_shrink, pins=pins), awaits=awaits, frozen=frozen is not None, mixes=mixes,
    )  # fmt: skip


def settle(connection: Connection, row: JobRow, piece: Piece, choice: Choice) -> int:
    """Write down what was chosen, as the plan of that size unless several may live in the job. Returns its id."""
    plan = choice.plan or choice.base
    if plan == choice.base or choice.mixes:
        jobs.freeze_plan(connection, row.id, piece.size, choice.base)
        return plan_id(connection, plan)
    if choice.frozen:
        return plans.refreeze(connection, row.id, piece.size, plan)
    return jobs.freeze_plan(connection, row.id, piece.size, plan)


def too_large(
    connection: Connection, row: JobRow, job: Job, *, piece: Piece, seats: Sequence[Seat], limits: Sequence[Limit]
) -> Misfits:
    """The kinds of devices that can hold no allowed plan for a piece."""
    found, awaits = {}, None
    for seat in {seat.device_key: seat for seat in seats}.values():
        choice = choose_for(connection, row, job, piece=piece, seat=seat, limits=limits)
        if choice.plan is None and choice.base.device_type == seat.device_type:
            found[seat.device_key] = words(choice.foot)
            awaits = choice.awaits
    return Misfits(devices=found, awaits=awaits)


def _under_way(connection: Connection, row: JobRow, job: Job, piece: Piece, frozen: Plan) -> int | None:
    """The first chunk with workers that renders images of that size by the frozen plan."""
    issued = chunks.in_state(connection, ChunkState.ISSUED, job_id=row.id)
    by_plan = (chunk for chunk in issued if chunk.plan == frozen)
    return next((chunk.number for chunk in by_plan if _size(row, job, chunk) == piece.size), None)


def _size(row: JobRow, job: Job, chunk: ChunkRow) -> tuple[int, int] | None:
    found = piece_of(row, job, chunk)
    return None if found is None else found.size
