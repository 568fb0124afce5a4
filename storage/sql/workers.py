"""Queries about workers: what does not fit their devices, which of them rest, and which are drained.

Workers themselves are no rows: who is alive is what the broker heard. Only what must outlive a worker stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.spec.plan import Plan
from storage.sql.tables import attempt, plan, plan_limit, rest, worker_wish

WorkerWish = Literal["drain", "stop"]  # drain: nothing new; stop: what runs ends at the next step, too
PATIENCE = 3  # failed chunks in a row before a worker rests
SHORTEST_REST_S = 60.0
LONGEST_REST_S = 900.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A plan that ran out of memory."""

    device: str  # `device_key` of the heartbeat
    plan: Plan
    model: str  # digest of the checkpoint
    size: tuple[int, int]  # width, height in pixels
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rest:
    """A worker that is left alone with one checkpoint."""

    failures: int  # in a row
    until: float  # Unix seconds


def note_limit(  # noqa: PLR0913 (six facts make the row)
    connection: Connection, *, device: str, plan_id: int, model: str, size: tuple[int, int], detail: str, now: float
) -> None:
    """Remember that a plan does not fit a kind of device, for one checkpoint and size."""
    names = {"device": device, "plan": plan_id, "model": model, "width": size[0], "height": size[1]}
    _put(connection, plan_limit, names, {"detail": detail, "found_at": now})


def limits(connection: Connection) -> list[Limit]:
    """Everything that is known not to fit; a few rows a kind of device and checkpoint."""
    query = select(plan_limit, plan.c.body).join(plan, plan.c.id == plan_limit.c.plan)
    return [
        Limit(
            device=row.device, plan=Plan.model_validate(row.body), model=row.model, size=(row.width, row.height),
            detail=row.detail,
        )
        for row in connection.execute(query.order_by(plan_limit.c.found_at))
    ]  # fmt: skip


def forget_limits(connection: Connection, *, model: str, size: tuple[int, int]) -> None:
    """Forget what does not fit, for one checkpoint and size: it is tried once more, perhaps on another device."""
    connection.execute(
        delete(plan_limit).where(
            plan_limit.c.model == model, plan_limit.c.width == size[0], plan_limit.c.height == size[1]
        )
    )


def note_failure(connection: Connection, node: str, model: str, now: float, scale: float) -> float | None:
    """Count a chunk that a worker ended by its own fault or failed wholly; the third in a row begins a rest.

    Args:
        connection: Of a writing transaction.
        node: The worker.
        model: Digest of the checkpoint, "" while a job's models are unknown.
        now: Unix seconds.
        scale: Multiplies the rest (`Settings.time_scale`).

    Returns:
        Until when it rests, Unix seconds; None while it does not.
    """
    known = select(rest.c.failures).where(rest.c.node == node, rest.c.model == model)
    failures = (connection.execute(known).scalar() or 0) + 1
    length = rest_length(failures)
    _put(connection, rest, {"node": node, "model": model}, {"failures": failures, "until": now + scale * length})
    return now + scale * length if length else None


def note_success(connection: Connection, node: str, model: str) -> None:
    """Forgive a worker: it rendered with that checkpoint."""
    connection.execute(delete(rest).where(rest.c.node == node, rest.c.model == model))


def rests(connection: Connection, now: float) -> dict[tuple[str, str], Rest]:
    """Who rests now, by node and digest of the checkpoint."""
    query = select(rest).where(rest.c.until > now, rest.c.failures >= PATIENCE)
    return {(row.node, row.model): Rest(failures=row.failures, until=row.until) for row in connection.execute(query)}


def wishes(connection: Connection) -> dict[str, WorkerWish]:
    """What users want of workers, by node; a node that is left out may work."""
    found = connection.execute(select(worker_wish.c.node, worker_wish.c.wish))
    return {row.node: row.wish for row in found if row.wish in get_args(WorkerWish)}


def wish_worker(connection: Connection, node: str, wish: WorkerWish | None, now: float) -> None:
    """Write down what a user wants of a worker; None: that it works again."""
    if wish is None:
        connection.execute(delete(worker_wish).where(worker_wish.c.node == node))
    else:
        _put(connection, worker_wish, {"node": node}, {"wish": wish, "wished_at": now})


def known_nodes(connection: Connection) -> set[str]:
    """Every worker that ever got a chunk or a wish."""
    names = select(attempt.c.node).union(select(worker_wish.c.node))
    return set(connection.execute(names).scalars())


def rest_length(failures: int) -> float:
    """Seconds that a worker rests after so many failures in a row: none, none, 60, 120 ... 900."""
    doublings = min(failures - PATIENCE, 10)
    return 0.0 if doublings < 0 else min(LONGEST_REST_S, SHORTEST_REST_S * 2**doublings)


def _put(connection: Connection, table: Table, names: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Insert a row, or overwrite the one of that primary key."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    query = insert(table).values(**names, **values)
    connection.execute(query.on_conflict_do_update(index_elements=list(names), set_=dict(values)))
