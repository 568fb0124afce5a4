"""Queries about how the images of a job ended, as the dispatcher needs them: trends, retries, and forgetting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from storage.spec.plan import Plan
from storage.sql.tables import chunk, image, model, plan
from storage.states import ImageState

_BATCH = 500  # values in one query, below SQLite's limit on variables


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRow:
    """An image that failed, and what it would be rendered by."""

    number: int
    reason: str
    chunk: int
    plan_id: int
    plan: Plan
    model: str  # name in the job file
    digest: str
    size: tuple[int, int]  # width, height in pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An image that failed, for people."""

    number: int
    at: float  # Unix seconds
    reason: str
    detail: str
    chunk: int
    attempt: int
    worker: str


def trend(connection: Connection, job_id: str, *, window: int) -> tuple[int, int, str]:
    """How the newest images that were rendered for a job ended; those recorded together count together.

    Returns:
        How many failed, how many there are (at least `window` where the job has so many), why the newest failed.
    """
    mine = and_(image.c.job == job_id, image.c.linked_job.is_(None))
    newest = (image.c.recorded_at.desc(), image.c.number.desc())
    since = connection.execute(select(image.c.recorded_at).where(mine).order_by(*newest).offset(window - 1).limit(1))
    recent = and_(mine, image.c.recorded_at >= (since.scalar() or 0.0))
    has_failed = image.c.state == ImageState.FAILED
    failed, ended = connection.execute(select(func.count().filter(has_failed), func.count()).where(recent)).one()
    why = select(image.c.reason, image.c.detail).where(recent, has_failed).order_by(*newest).limit(1)
    last = connection.execute(why).one_or_none()
    return failed, ended, "" if last is None else f"{last.reason}: {last.detail}"


def failed(connection: Connection, job_id: str, numbers: Sequence[int] | None) -> list[FailedRow]:
    """The failed images of a job by number: all of them, or those of `numbers` that failed."""
    query = (
        select(
            image.c.number, image.c.reason, image.c.chunk, image.c.plan, image.c.width, image.c.height,
            plan.c.body, model.c.name, model.c.digest,
        )
        .join(plan, plan.c.id == image.c.plan)
        .join(model, model.c.id == image.c.model)
        .where(image.c.job == job_id, image.c.state == ImageState.FAILED)
        .order_by(image.c.number)
    )  # fmt: skip
    wheres: Iterable[ColumnElement[bool]] = [image.c.number >= 0] if numbers is None else _in(numbers)
    rows = [row for where in wheres for row in connection.execute(query.where(where))]
    return [
        FailedRow(
            number=row.number, reason=row.reason or "", chunk=row.chunk, plan_id=row.plan,
            plan=Plan.model_validate(row.body), model=row.name, digest=row.digest, size=(row.width, row.height),
        )
        for row in rows
    ]  # fmt: skip


def newest_failed(connection: Connection, job_id: str, *, limit: int) -> list[Failure]:
    """The images of a job that failed last, newest first."""
    names = ("number", "reason", "detail", "chunk", "attempt", "worker")
    query = (
        select(image.c.recorded_at.label("at"), *(image.c[name] for name in names))
        .where(image.c.job == job_id, image.c.state == ImageState.FAILED)
        .order_by(image.c.recorded_at.desc(), image.c.number.desc())
        .limit(limit)
    )
    return [Failure(**row) for row in connection.execute(query).mappings()]


def forget_failed(connection: Connection, job_id: str, rows: Sequence[FailedRow]) -> None:
    """Delete failed images that are to be tried once more; the notes of their chunks are due again."""
    for where in _in([row.number for row in rows]):
        connection.execute(delete(image).where(image.c.job == job_id, image.c.state == ImageState.FAILED, where))
    numbers = sorted({row.chunk for row in rows})
    for start in range(0, len(numbers), _BATCH):
        part = chunk.c.number.in_(numbers[start : start + _BATCH])
        connection.execute(update(chunk).where(chunk.c.job == job_id, part).values(noted=False))


def ended(connection: Connection, job_id: str, numbers: Sequence[int]) -> set[int]:
    """Those of `numbers` that have a row: made or failed."""
    query = select(image.c.number).where(image.c.job == job_id)
    return {number for where in _in(numbers) for number in connection.execute(query.where(where)).scalars()}


def forget_some(connection: Connection, job_id: str, *, limit: int) -> Mapping[str, int]:
    """Delete up to `limit` images of a job, whatever came of them. Returns how many were "done", "failed", "linked"."""
    numbers = list(connection.execute(select(image.c.number).where(image.c.job == job_id).limit(limit)).scalars())
    gone = {"done": 0, "failed": 0, "linked": 0}
    counts: Any = [func.count().filter(image.c.state == state) for state in (ImageState.DONE, ImageState.FAILED)]
    counts.append(func.count().filter(image.c.linked_job.is_not(None)))
    for where in _in(numbers):
        found = connection.execute(select(*counts).where(image.c.job == job_id, where)).one()
        gone = {name: gone[name] + found[place] for place, name in enumerate(gone)}
        connection.execute(delete(image).where(image.c.job == job_id, where))
    return gone


def _in(numbers: Sequence[int]) -> Iterable[ColumnElement[bool]]:
    """Conditions that together select the images of these numbers, each small enough for one query."""
    for start in range(0, len(numbers), _BATCH):
        yield image.c.number.in_(numbers[start : start + _BATCH])
