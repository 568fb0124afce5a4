"""Queries about jobs. Every change of state goes through `enter`, which knows the allowed steps and logs them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Text, and_, cast, insert, not_, or_, select, update

from storage.errors import UnknownName, nearest
from storage.spec import ModelFacts
from storage.spec.plan import Plan
from storage.sql import events
from storage.sql.lookups import plan_id
from storage.sql.tables import job, job_plan, plan
from storage.states import MOVING_JOBS, OPEN_JOBS, JobState, Priority, Reuse, Wish, sources_of

UNWANTED = (Wish.CANCEL, Wish.DROP)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A job about to be stored."""

    id: str
    name: str
    user: str
    source: str
    spec_hash: str
    positions: int
    images: int
    created_at: float
    priority: Priority = Priority.NORMAL
    reuse: Reuse = Reuse.OFF
    has_rules: bool = False  # its spec says what is rejected
    deadline: float | None = None  # Unix seconds
    max_device_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRow:
    """A stored job."""

    id: str
    name: str
    user: str
    source: str
    spec_hash: str
    state: JobState
    wish: Wish
    reason: str | None
    positions: int
    images: int
    cursor: int
    chunks: int
    done: int
    failed: int
    linked: int
    rejected: int = 0
    has_rules: bool = False
    judged: bool = False
    short: int = 0
    forgiven: int
    priority: Priority
    reuse: Reuse
    deadline: float | None
    max_device_seconds: float | None
    device_seconds: float
    retry: Sequence[int] | None
    specs: Sequence[str]
    models: Mapping[str, ModelFacts] | None
    seconds_per_image: float | None
    created_at: float
    started_at: float | None
    issued_at: float | None
    finished_at: float | None

    @property
    def is_open(self) -> bool:
        """Whether anything may still happen to it."""
        return self.state in OPEN_JOBS

    @property
    def is_complete(self) -> bool:
        """Whether each of its images is made or has failed."""
        return self.models is not None and self.done + self.failed >= self.images

    @property
    def is_moving(self) -> bool:
        """Whether something happens to it by itself: it is open, and neither paused nor stopped."""
        return self.state in MOVING_JOBS


def add(connection: Connection, new: NewJob) -> None:
    """Store a job: one row, whatever its size."""
    values = {name: getattr(new, name) for name in NewJob.__slots__}
    fresh = {"state": JobState.QUEUED, "wish": Wish.RUN, "cursor": 0, "chunks": 0, "done": 0, "failed": 0}
    connection.execute(insert(job).values(**values, **fresh))


def get(connection: Connection, job_id: str, *, lock: bool = False) -> JobRow:
    """One job by its id; `lock` keeps others from writing wishes until the transaction ends. Raises UnknownName."""
    query = select(job).where(job.c.id == job_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise UnknownName("job", job_id, "'farm ls' shows them")
    return _row(row)


def exists(connection: Connection, job_id: str) -> bool:
    """Whether there is a job of that id."""
    return connection.execute(select(job.c.id).where(job.c.id == job_id)).scalar() is not None


def find(connection: Connection, name: str) -> JobRow:
    """One job as a user names it: @last, an id or its beginning, or a name (then the newest of that name).

    Raises:
        UnknownName: None, or several ids begin so.
    """
    newest = select(job).order_by(job.c.created_at.desc(), job.c.id)
    queries = [newest.where(job.c.id == name), newest.where(job.c.name == name)]
    queries.append(newest.where(job.c.id.startswith(name, autoescape=True)))
    if name == "@last":
        queries = [newest]
    elif not name.isprintable():  # NUL and halves of surrogate pairs, which databases refuse
        queries = []
    rows: list[JobRow] = []
    for query in queries:
        rows = rows or [_row(row) for row in connection.execute(query.limit(50)).mappings()]
    if rows and (len(rows) == 1 or name in ("@last", rows[0].id, rows[0].name)):
        return rows[0]
    if rows:
        raise UnknownName("job", name, f"several ids begin so: {', '.join(row.id for row in rows[:5])}")
    known = connection.execute(select(job.c.name).order_by(job.c.created_at.desc()).limit(200)).scalars()
    raise UnknownName("job", name, nearest(name, set(known)) or "there are none yet; 'farm submit FILE' makes one")


def listing(connection: Connection, *, limit: int = 50) -> list[JobRow]:
    """The newest jobs first."""
    query = select(job).order_by(job.c.created_at.desc(), job.c.id).limit(limit)
    return [_row(row) for row in connection.execute(query).mappings()]


def still_open(connection: Connection) -> list[JobRow]:
    """Every job that something may still happen to, oldest first."""
    query = select(job).where(job.c.state.in_(OPEN_JOBS)).order_by(job.c.created_at, job.c.id)
    return [_row(row) for row in connection.execute(query).mappings()]


def to_attend(connection: Connection) -> list[str]:
    """Jobs that a user wishes something of which was not acted on yet, or that may have to stop themselves."""
    unmet = or_(
        job.c.retry.is_not(None),
        job.c.wish == Wish.RESUME,
        and_(job.c.wish.in_([Wish.PAUSE, Wish.PAUSE_AFTER_CHUNKS]), job.c.state.in_(sources_of(JobState.PAUSED))),
        and_(job.c.wish.in_(UNWANTED), job.c.state.in_(OPEN_JOBS)),
        and_(job.c.wish == Wish.DROP, job.c.state == JobState.CANCELLED, job.c.done + job.c.failed > 0),
    )
    bounded = or_(
        job.c.deadline.is_not(None), job.c.max_device_seconds.is_not(None), job.c.failed > job.c.forgiven
    )  # fmt: skip
    moving = job.c.state.in_(sources_of(JobState.STOPPED))
    query = select(job.c.id).where(or_(unmet, and_(moving, bounded))).order_by(job.c.created_at, job.c.id)
    return list(connection.execute(query).scalars())


def same_spec(connection: Connection, spec_hash: str, *, user: str) -> JobRow | None:
    """The job of this user with that spec, else one that was extended since; an open one before one that is done.

    Several of a kind: the newest.
    """
    states = [*OPEN_JOBS, JobState.DONE]
    had = or_(job.c.spec_hash == spec_hash, cast(job.c.specs, Text).contains(spec_hash, autoescape=True))
    query = (
        select(job)
        .where(had, job.c.user == user, job.c.state.in_(states), not_(job.c.wish.in_(UNWANTED)))
        .order_by(job.c.spec_hash != spec_hash, job.c.state == JobState.DONE, job.c.created_at.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _row(row)


def extended(connection: Connection, name: str, *, user: str, limit: int = 20) -> list[JobRow]:
    """The jobs of this user and name that were extended and may be asked for again, the newest first."""
    states = [*OPEN_JOBS, JobState.DONE]
    mine = (job.c.name == name, job.c.user == user, cast(job.c.specs, Text) != "[]")
    query = (
        select(job)
        .where(*mine, job.c.state.in_(states), not_(job.c.wish.in_(UNWANTED)))
        .order_by(job.c.created_at.desc(), job.c.id)
        .limit(limit)
    )
    return [_row(row) for row in connection.execute(query).mappings()]


def enter(
    connection: Connection, job_id: str, state: JobState, *, before: Collection[JobState] | None = None, **values: Any
) -> bool:
    """Move a job to a state if it stands where that is allowed, and write the event.

    Args:
        connection: A writing transaction.
        job_id: The job.
        state: Where it should stand.
        before: Where it must stand now; silent: wherever the table of steps allows.
        **values: Further columns.

    Returns:
        Whether it moved.
    """
    sources = sources_of(state) if before is None else sources_of(state) & set(before)
    changed = connection.execute(
        update(job).where(job.c.id == job_id, job.c.state.in_(sources)).values(state=state, **values)
    )
    if changed.rowcount == 1:
        events.add(connection, job_id, state, str(values.get("reason") or ""))
    return changed.rowcount == 1


def wish(connection: Connection, job_id: str, wanted: Wish) -> None:
    """Write down what the user wants; the dispatcher acts on it."""
    connection.execute(update(job).where(job.c.id == job_id).values(wish=wanted))


def change(connection: Connection, job_id: str, **values: Any) -> None:
    """Set columns other than the state; SQL expressions are allowed."""
    connection.execute(update(job).where(job.c.id == job_id).values(**values))


def plans(connection: Connection, job_ids: Sequence[str]) -> dict[str, dict[tuple[int, int], Plan]]:
    """The plans frozen so far: job -> (width, height) -> plan."""
    query = (
        select(job_plan.c.job, job_plan.c.width, job_plan.c.height, plan.c.body)
        .join(plan, plan.c.id == job_plan.c.plan)
        .where(job_plan.c.job.in_(job_ids))
    )
    found: dict[str, dict[tuple[int, int], Plan]] = {}
    for row in connection.execute(query):
        found.setdefault(row.job, {})[row.width, row.height] = Plan.model_validate(row.body)
    return found


def freeze_plan(connection: Connection, job_id: str, size: tuple[int, int], chosen: Plan) -> int:
    """Freeze the plan of one size of a job, or confirm it. Returns the plan's id."""
    number = plan_id(connection, chosen)
    known = select(job_plan.c.plan).where(
        job_plan.c.job == job_id, job_plan.c.width == size[0], job_plan.c.height == size[1]
    )
    if connection.execute(known).scalar() is None:
        connection.execute(insert(job_plan).values(job=job_id, width=size[0], height=size[1], plan=number))
    return number


def _row(row: RowMapping) -> JobRow:
    values = dict(row)
    models = values.pop("models")
    facts = None if models is None else {name: ModelFacts(**entry) for name, entry in models.items()}
    words = {"state": JobState, "wish": Wish, "priority": Priority, "reuse": Reuse}
    return JobRow(**{**values, **{name: word(values[name]) for name, word in words.items()}}, models=facts)
