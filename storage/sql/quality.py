"""Queries of judging: jobs that wait for it, what verdicts are made from, and the verdicts themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select, update

from storage.spec.quality import FLAGS as REJECTING
from storage.spec.quality import SCORERS
from storage.sql.tables import image, job
from storage.states import ImageState, JobState
from storage.wire.messages import FLAGS

RULES = (*REJECTING, "exact_duplicate", "near_duplicate", *SCORERS)  # as reasons begin
JUDGED_IN = (JobState.RUNNING, JobState.PAUSED, JobState.STOPPED)  # a complete job stands there until it is judged


@dataclass(frozen=True, slots=True)
class Judgeable:
    """An image with a row, as far as judging goes."""

    number: int
    state: ImageState
    flags: frozenset[str]
    scores: Mapping[str, float]
    pixel_sha256: str | None
    phash: str | None
    rejected: str | None  # by the judging before


def waiting(connection: Connection) -> list[str]:
    """Jobs whose images are all made or failed, and are to be judged; the oldest first."""
    query = select(job.c.id).where(
        job.c.has_rules, ~job.c.judged, job.c.state.in_(JUDGED_IN), job.c.models.is_not(None),
        job.c.done + job.c.failed >= job.c.images,
    )  # fmt: skip
    return list(connection.execute(query.order_by(job.c.created_at, job.c.id)).scalars())


def page(connection: Connection, job_id: str, *, after: int, limit: int) -> list[Judgeable]:
    """The next images of a job behind a number, ascending."""
    names = ("number", "state", "scores", "pixel_sha256", "phash", "rejected", *FLAGS)
    query = (
        select(*(image.c[name] for name in names))
        .where(image.c.job == job_id, image.c.number > after)
        .order_by(image.c.number)
        .limit(limit)
    )
    return [
        Judgeable(
            row["number"], ImageState(row["state"]), frozenset(flag for flag in FLAGS if row[flag]), row["scores"],
            row["pixel_sha256"], row["phash"], row["rejected"],
        )
        for row in connection.execute(query).mappings()
    ]  # fmt: skip


def mark(connection: Connection, job_id: str, verdicts: Mapping[int, str | None]) -> None:
    """Write down why images are rejected; None: they are not."""
    if verdicts:
        connection.execute(
            update(image)
            .where(image.c.job == job_id, image.c.number == bindparam("of", type_=image.c.number.type))
            .values(rejected=bindparam("why")),
            [{"of": number, "why": why} for number, why in verdicts.items()],
        )


def rejected_count(connection: Connection, job_id: str) -> int:
    """How many images of a job are marked."""
    query = select(func.count()).select_from(image).where(image.c.job == job_id, image.c.rejected.is_not(None))
    return int(connection.execute(query).scalar_one())


def reasons(connection: Connection, job_id: str) -> dict[str, int]:
    """How many images of a job each rule rejects; an image may break several. Rules that none breaks are left out."""
    counts = [func.count().filter(image.c.rejected.contains(rule)).label(rule) for rule in RULES]
    query = select(*counts).where(image.c.job == job_id, image.c.rejected.is_not(None))
    return {rule: count for rule, count in connection.execute(query).mappings().one().items() if count}
