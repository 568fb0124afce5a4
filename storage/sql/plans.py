"""Queries about plans: what was made by the one that is frozen for a size, and how it changes while nothing was."""

from sqlalchemy import Connection, delete, exists, select, update

from storage.spec.plan import Plan
from storage.sql.chunks import ChunkRow
from storage.sql.lookups import plan_id
from storage.sql.tables import chunk, image, job_plan, plan
from storage.states import ChunkState, ImageState


def is_used(connection: Connection, job_id: str, size: tuple[int, int], frozen: Plan) -> bool:
    """Whether an image of that size was made by its frozen plan."""
    mine = select(plan.c.id).where(plan.c.hash == frozen.hash).scalar_subquery()
    made = exists().where(
        image.c.job == job_id, image.c.state == ImageState.DONE, image.c.plan == mine,
        image.c.width == size[0], image.c.height == size[1],
    )  # fmt: skip
    return bool(connection.execute(select(made)).scalar_one())


def refreeze(connection: Connection, job_id: str, size: tuple[int, int], chosen: Plan) -> int:
    """Put another plan in place of the frozen one of a size. Returns the plan's id."""
    number = plan_id(connection, chosen)
    connection.execute(
        update(job_plan)
        .where(job_plan.c.job == job_id, job_plan.c.width == size[0], job_plan.c.height == size[1])
        .values(plan=number)
    )
    return number


def release(connection: Connection, row: ChunkRow) -> None:
    """Forget the frozen plan of a chunk that came to nothing, unless something is made by it: another device may suit.

    Args:
        connection: A writing transaction.
        row: The chunk; it is not issued any more.
    """
    used = select(image.c.number).where(image.c.job == row.job, image.c.state == ImageState.DONE)
    held = select(chunk.c.number).where(chunk.c.job == row.job, chunk.c.state == ChunkState.ISSUED)
    connection.execute(
        delete(job_plan).where(
            job_plan.c.job == row.job, job_plan.c.plan == row.plan_id,
            ~exists(used.where(image.c.plan == row.plan_id)), ~exists(held.where(chunk.c.plan == row.plan_id)),
        )
    )  # fmt: skip


def replan(connection: Connection, row: ChunkRow, number: int) -> bool:
    """Give a ready chunk another plan, by its id. Returns False if it is not ready any more."""
    changed = connection.execute(
        update(chunk)
        .where(chunk.c.job == row.job, chunk.c.number == row.number, chunk.c.state == ChunkState.READY)
        .values(plan=number)
    )
    return changed.rowcount == 1
