"""Images of a job that no row and no chunk speaks of: found, and made into chunks.

In a farm there are none. They appear where a database was made anew from the store, or where rows were lost.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from dispatcher.planning.cutting import MAX_RANGES
from storage.spec import Job, Numbers
from storage.spec.plan import choose_plan
from storage.sql import chunks, jobs
from storage.sql.chunks import NewChunk
from storage.sql.jobs import JobRow

CHUNK_IMAGES: Final = 256
THREADS: Final = 1  # of a plan that nobody froze: what every CPU worker has


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Images of one model and size."""

    numbers: Numbers
    model: str  # name in the job file
    size: tuple[int, int]  # width, height in pixels


def frontier(job: Job, covered: set[int]) -> int:
    """The position after the last one, in render order, whose number is covered."""
    left, position = len(covered), 0
    while left and position < job.positions:
        left -= job.number_at(position) in covered
        position += 1
    return position


def gaps(job: Job, row: JobRow, *, below: int, covered: Container[int]) -> Iterator[Gap]:
    """What lies before position `below` and is not covered, in render order."""
    kind: tuple[str, tuple[int, int]] | None = None
    found: list[int] = []
    for position in range(below):
        place = job[job.number_at(position)]
        if place is None or place.number in covered:
            continue
        here = (place.values["model"], size_of(job, row, place.number))
        torn = len(found) % 64 == 63 and len(Numbers.of(found).to_json()) > MAX_RANGES
        if kind is not None and (here != kind or len(found) >= CHUNK_IMAGES or torn):
            yield Gap(numbers=Numbers.of(found), model=kind[0], size=kind[1])
            found = []
        kind = here
        found.append(place.number)
    if kind is not None and found:
        yield Gap(numbers=Numbers.of(found), model=kind[0], size=kind[1])


def size_of(job: Job, row: JobRow, number: int) -> tuple[int, int]:
    """Width and height of an image in pixels; its job's models are resolved."""
    place = job[number]
    assert place is not None
    facts = (row.models or {})[place.values["model"]]
    width, height = place.values["width"] or facts.width, place.values["height"] or facts.height
    assert width is not None  # no report about a checkpoint without a size is recorded
    assert height is not None
    return width, height


def fill(connection: Connection, row: JobRow, job: Job, *, below: int, covered: Container[int]) -> list[int]:
    """Make chunks that are ready of what is not covered. Returns their numbers.

    A size whose plan nobody froze gets one of the device type of the job's other sizes.
    """
    plans = jobs.plans(connection, [row.id]).get(row.id, {})
    device = next((plan.device_type for plan in plans.values()), "cpu")
    made = []
    for gap in gaps(job, row, below=below, covered=covered):
        plan = plans.get(gap.size) or choose_plan(
            job.spec.plan, device_type=device, threads=THREADS, size=gap.size, company=job.company
        )
        plan_id = jobs.freeze_plan(connection, row.id, gap.size, plan)
        made.append(
            chunks.add(
                connection,
                NewChunk(job=row.id, kind="render", numbers=gap.numbers, plan=plan_id, model=gap.model),
            )
        )
    return made
