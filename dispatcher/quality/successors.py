"""Next takes of rejected images: chunks like any others, of the plan that their size has in the job."""

from collections.abc import Sequence

from sqlalchemy import Connection

from dispatcher.planning.cutting import MAX_RANGES, chunk_images, size_of
from dispatcher.service.feeding.linking import link_existing
from storage.spec import Job, Numbers
from storage.spec.number import TAKE
from storage.spec.plan import Plan
from storage.sql import chunks, images, jobs
from storage.sql.chunks import NewChunk
from storage.sql.jobs import JobRow
from storage.sql.tables import job as job_table

Kind = tuple[str, tuple[int, int]]  # a model's name in the job file, width and height


def add_takes(connection: Connection, row: JobRow, job: Job, numbers: Sequence[int], *, chunk_s: float) -> int:
    """Make takes part of a job: it has so many images more, and they wait in chunks.

    Takes that exist already, in any job, are linked like other images.

    Args:
        connection: A writing transaction of the leader.
        row: The job; its models are resolved.
        job: Its images.
        numbers: Of the takes, ascending; none has a row or a chunk.
        chunk_s: Seconds that a chunk aims at.

    Returns:
        How many were linked.
    """
    jobs.change(connection, row.id, images=job_table.c.images + len(numbers))
    plans, left = jobs.plans(connection, [row.id]).get(row.id, {}), 0
    for (model, size), group in _groups(row, job, numbers).items():
        plan = plans.get(size) or _plan_of(connection, row, group[0])
        number = jobs.freeze_plan(connection, row.id, size, plan)
        rest = list(link_existing(connection, row, job, Numbers.of(group), plan_id=number))
        left += len(rest)
        wanted = chunk_images(
            seconds_per_image=row.seconds_per_image, target_s=chunk_s, batch=plan.batch, left=len(rest), workers=1
        )
        step = min(wanted, max(1, MAX_RANGES // plan.batch) * plan.batch)  # takes lie far apart: a range each
        for start in range(0, len(rest), step):
            some = Numbers.of(rest[start : start + step])
            chunks.add(connection, NewChunk(job=row.id, kind="render", numbers=some, plan=number, model=model))
    return len(numbers) - left


def _groups(row: JobRow, job: Job, numbers: Sequence[int]) -> dict[Kind, list[int]]:
    """Takes that may share a chunk."""
    groups: dict[Kind, list[int]] = {}
    for number in numbers:
        place = job[number]
        assert place is not None  # a take of an image that was made
        assert row.models is not None
        model = place.values["model"]
        groups.setdefault((model, size_of(place, row.models[model])), []).append(number)
    return groups


def _plan_of(connection: Connection, row: JobRow, number: int) -> Plan:
    """The plan of the image that a take follows, where nobody froze one for its size."""
    before = images.get(connection, row.id, number - TAKE)
    assert before is not None
    return Plan.model_validate(before.plan)
