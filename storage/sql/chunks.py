"""Queries about chunks and their attempts. Every change of state goes through `_enter`, which knows the steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, Select, func, insert, select, update

from storage.spec import Numbers
from storage.spec.plan import Plan
from storage.sql.tables import attempt, chunk, job, plan
from storage.states import ChunkState, chunk_sources_of

Kind = Literal["resolve", "render", "link"]
LOST = "lost"  # what the outcome of a lost attempt begins with


@dataclass(frozen=True, kw_only=True, slots=True)
class NewChunk:
    """A chunk about to be stored."""

    job: str
    kind: Kind
    numbers: Numbers
    plan: int | None = None
    model: str | None = None
    faults: int = 0  # attempts that these images may have ended
    avoid: frozenset[str] = frozenset()  # nodes that failed them


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkRow:
    """A stored chunk."""

    job: str
    number: int
    kind: Kind
    state: ChunkState
    numbers: Numbers
    images: int
    plan_id: int | None
    plan: Plan | None
    model: str | None
    attempt: int
    node: str | None
    boot: str | None
    faults: int
    avoid: frozenset[str]
    manifest: str | None

    @property
    def id(self) -> tuple[str, int]:
        """What names it in the whole farm."""
        return self.job, self.number


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRow:
    """One publish of a chunk, and what came of it."""

    job: str
    chunk: int
    attempt: int
    node: str
    boot: str
    issued_at: float
    ended_at: float | None
    outcome: str | None


def add(connection: Connection, new: NewChunk) -> int:
    """Store a chunk that is ready to be issued. Returns its number."""
    number: int = connection.execute(select(job.c.chunks).where(job.c.id == new.job)).scalar_one()
    connection.execute(update(job).where(job.c.id == new.job).values(chunks=number + 1))
    connection.execute(
        insert(chunk).values(
            job=new.job, number=number, kind=new.kind, state=ChunkState.READY, ranges=new.numbers.to_json(),
            images=len(new.numbers), plan=new.plan, model=new.model, attempt=0,
            faults=new.faults, avoid=sorted(new.avoid),
        )
    )  # fmt: skip
    return number


def get(connection: Connection, job_id: str, number: int) -> ChunkRow | None:
    """One chunk."""
    row = connection.execute(_query().where(chunk.c.job == job_id, chunk.c.number == number)).mappings().one_or_none()
    return None if row is None else _row(row)


def in_state(connection: Connection, state: ChunkState, *, job_id: str | None = None) -> list[ChunkRow]:
    """All chunks in a state, oldest first."""
    query = _query().where(chunk.c.state == state).order_by(chunk.c.job, chunk.c.number)
    if job_id is not None:
        query = query.where(chunk.c.job == job_id)
    return [_row(row) for row in connection.execute(query).mappings()]


def of_job(connection: Connection, job_id: str) -> list[ChunkRow]:
    """All chunks of a job, in the order they were cut."""
    rows = connection.execute(_query().where(chunk.c.job == job_id).order_by(chunk.c.number)).mappings()
    return [_row(row) for row in rows]


def issue(connection: Connection, row: ChunkRow, *, node: str, boot: str, now: float) -> int | None:
    """Give a ready chunk to one boot of one worker. Returns the attempt, or None if it is not ready any more."""
    number = row.attempt + 1
    if not _enter(connection, row, ChunkState.ISSUED, attempt=number, node=node, boot=boot):
        return None
    connection.execute(
        insert(attempt).values(job=row.job, chunk=row.number, attempt=number, node=node, boot=boot, issued_at=now)
    )
    return number


def offer_again(connection: Connection, row: ChunkRow, *, why: str, now: float, blame: bool = False) -> bool:
    """Take an issued chunk back; `blame` counts a fault, and keeps it from the worker that had it.

    Returns:
        False if it is not issued with that attempt any more.
    """
    more = {"faults": row.faults + 1, "avoid": sorted({*row.avoid, row.node or ""})} if blame else {}
    if not _enter(connection, row, ChunkState.READY, **more):
        return False
    _end_attempt(connection, row, outcome=f"{LOST}: {why}", now=now)
    return True


def withdraw(connection: Connection, row: ChunkRow, *, why: str, now: float) -> bool:
    """Take back a chunk that its worker never began. Returns False if it is not issued with that attempt any more."""
    if not _enter(connection, row, ChunkState.READY):
        return False
    _end_attempt(connection, row, outcome=f"withdrawn: {why}", now=now)
    return True


def finish(connection: Connection, row: ChunkRow, *, outcome: str, now: float, manifest: str | None = None) -> bool:
    """A chunk's images are accounted for, by the manifest of that key. Returns False if another one was first."""
    if not _enter(connection, row, ChunkState.DONE, manifest=manifest):
        return False
    _end_attempt(connection, row, outcome=outcome, now=now)
    return True


def drop(connection: Connection, row: ChunkRow, *, why: str, now: float) -> bool:
    """A chunk's job ended before it, or its images go on in other chunks. Returns False if it is final already."""
    if not _enter(connection, row, ChunkState.DROPPED):
        return False
    _end_attempt(connection, row, outcome=f"dropped: {why}", now=now)
    return True


def open_counts(connection: Connection, job_id: str) -> dict[ChunkState, int]:
    """How many chunks of a job stand in each state."""
    query = select(chunk.c.state, func.count()).where(chunk.c.job == job_id).group_by(chunk.c.state)
    return {ChunkState(state): count for state, count in connection.execute(query)}


def lost_nodes(connection: Connection, rows: Sequence[ChunkRow]) -> dict[tuple[str, int], set[str]]:
    """The nodes that lost each of these ready chunks before."""
    lost: dict[tuple[str, int], set[str]] = {row.id: set() for row in rows}
    query = (
        select(attempt.c.job, attempt.c.chunk, attempt.c.node)
        .join(chunk, (chunk.c.job == attempt.c.job) & (chunk.c.number == attempt.c.chunk))
        .where(chunk.c.state == ChunkState.READY, attempt.c.outcome.startswith(LOST))
    )
    for job_id, number, node in connection.execute(query):
        lost.get((job_id, number), set()).add(node)
    return lost


def note_rest(connection: Connection, row: ChunkRow, *, lost: ChunkRow, node: str, now: float) -> None:
    """Note that a new chunk is the rest of a lost one, as its attempt 0: its images were with a worker before."""
    mine = (attempt.c.job == lost.job, attempt.c.chunk == lost.number, attempt.c.attempt == lost.attempt)
    issued_at = connection.execute(select(attempt.c.issued_at).where(*mine)).scalar()
    told = {"node": node, "boot": lost.boot or "", "outcome": f"rest: of chunk {lost.number}, which was lost"}
    times = {"issued_at": now if issued_at is None else issued_at, "ended_at": now}
    connection.execute(insert(attempt).values(job=row.job, chunk=row.number, attempt=0, **told, **times))


def rests(connection: Connection) -> set[tuple[str, int]]:
    """The ready chunks that are the rest of a lost one."""
    query = (
        select(attempt.c.job, attempt.c.chunk)
        .join(chunk, (chunk.c.job == attempt.c.job) & (chunk.c.number == attempt.c.chunk))
        .where(chunk.c.state == ChunkState.READY, attempt.c.attempt == 0)
    )
    return {(job_id, number) for job_id, number in connection.execute(query)}


def attempts(connection: Connection, job_id: str, *, limit: int) -> list[AttemptRow]:
    """The newest attempts of a job, by when they were issued, the oldest of them first."""
    newest = (attempt.c.issued_at.desc(), attempt.c.chunk.desc(), attempt.c.attempt.desc())
    query = select(attempt).where(attempt.c.job == job_id).order_by(*newest).limit(limit)
    return [AttemptRow(**row) for row in connection.execute(query).mappings()][::-1]


def _enter(connection: Connection, row: ChunkRow, state: ChunkState, **values: Any) -> bool:
    changed = connection.execute(
        update(chunk)
        .where(
            chunk.c.job == row.job,
            chunk.c.number == row.number,
            chunk.c.attempt == row.attempt,
            chunk.c.state.in_(chunk_sources_of(state)),
        )
        .values(state=state, **values)
    )
    return changed.rowcount == 1


def _end_attempt(connection: Connection, row: ChunkRow, *, outcome: str, now: float) -> None:
    connection.execute(
        update(attempt)
        .where(attempt.c.job == row.job, attempt.c.chunk == row.number, attempt.c.ended_at.is_(None))
        .values(ended_at=now, outcome=outcome)
    )


def _query() -> Select[Any]:
    return select(chunk, plan.c.body.label("plan_body")).outerjoin(plan, plan.c.id == chunk.c.plan)


_PLAIN = ("job", "number", "kind", "images", "model", "attempt", "node", "boot", "faults", "manifest")


def _row(row: RowMapping) -> ChunkRow:
    values = dict(row)
    body = values.pop("plan_body")
    return ChunkRow(
        **{name: values[name] for name in _PLAIN},
        avoid=frozenset(values["avoid"]),
        state=ChunkState(values["state"]),
        numbers=Numbers.from_json(values["ranges"]),
        plan_id=values["plan"],
        plan=None if body is None else Plan.model_validate(body),
    )
