"""Failed images once more: their rows go, their numbers become chunks again."""

from collections.abc import Sequence

from sqlalchemy import Connection

from dispatcher.planning.cutting import chunk_images
from dispatcher.service.recording.outcomes import OWN_FAULTS
from dispatcher.service.steps import finish_if_complete
from dispatcher.wording import counted
from storage.spec import Numbers
from storage.spec.number import show_number
from storage.sql import chunks, endings, events, jobs, workers
from storage.sql.chunks import NewChunk
from storage.sql.endings import FailedRow
from storage.sql.jobs import JobRow
from storage.sql.tables import job as job_table
from storage.states import ChunkState, JobState, Wish


def retry(connection: Connection, row: JobRow, *, chunk_s: float, now: float) -> None:
    """Act on a wish to render failed images of a job once more.

    A failed job is queued again and its models are read anew; the wish stays until it runs. Numbers that are unknown or
    did not fail are passed over, with an event.

    Args:
        connection: A writing transaction of the leader.
        row: The job, its row locked; `retry` is set.
        chunk_s: Seconds that a chunk aims at.
        now: Unix seconds.
    """
    if row.state == JobState.FAILED:
        jobs.enter(connection, row.id, JobState.QUEUED, reason=None, finished_at=None, wish=Wish.RUN)
    elif row.state == JobState.CANCELLED:
        jobs.change(connection, row.id, retry=None)
        events.add(connection, row.id, "retry passed over", "the job is cancelled")
    elif row.models is not None and row.state not in (JobState.QUEUED, JobState.RESOLVING):
        _render_again(connection, row, chunk_s=chunk_s, now=now)


def _render_again(connection: Connection, row: JobRow, *, chunk_s: float, now: float) -> None:
    found = endings.failed(connection, row.id, row.retry or None)
    endings.forget_failed(connection, row.id, found)
    left = row.failed - len(found)
    jobs.change(connection, row.id, retry=None, failed=job_table.c.failed - len(found), forgiven=left)
    if found:
        jobs.enter(
            connection, row.id, JobState.RUNNING, before=[JobState.DONE], finished_at=None, wish=Wish.RUN, judged=False
        )  # fmt: skip
    for group in _groups(found):
        _cut(connection, row, group, chunk_s=chunk_s)
    revived = 0 if row.state == JobState.DONE else _revive(connection, row)
    unknown = sorted(set(row.retry or ()) - {image.number for image in found})
    named = ", ".join(show_number(number) for number in unknown[:20])
    passed_over = f", passed over because they did not fail: {named}" if unknown else ""
    tried = f"{counted(len(found), 'failed image')} and {counted(revived, 'left one')}"
    events.add(connection, row.id, "retry", f"{tried}{passed_over}")
    finish_if_complete(connection, row.id, now=now)


def _groups(found: Sequence[FailedRow]) -> list[list[FailedRow]]:
    """Images that may share a chunk: one plan, checkpoint and size, and none that ended its runs beside others."""
    groups: dict[tuple[object, ...], list[FailedRow]] = {}
    for image in found:
        key = (image.plan_id, image.model, image.size, image.reason in OWN_FAULTS)
        groups.setdefault(key, []).append(image)
    return list(groups.values())


def _cut(connection: Connection, row: JobRow, group: Sequence[FailedRow], *, chunk_s: float) -> None:
    first = group[0]
    if any(image.reason == "out_of_memory" for image in group):  # the device may have been changed
        workers.forget_limits(connection, model=first.digest, size=first.size)
    size = chunk_images(
        seconds_per_image=row.seconds_per_image, target_s=chunk_s, batch=first.plan.batch, left=len(group), workers=1
    )
    for start in range(0, len(group), size):
        numbers = Numbers.of(image.number for image in group[start : start + size])
        new = NewChunk(
            job=row.id, kind="render", numbers=numbers, plan=first.plan_id, model=first.model,
            faults=int(first.reason in OWN_FAULTS),
        )  # fmt: skip
        chunks.add(connection, new)


def _revive(connection: Connection, row: JobRow) -> int:
    """Take up again what was dropped when the job failed. Returns how many images.

    A divided chunk is dropped too, and its images go on elsewhere; so each image that has no row and is in no open
    chunk is taken once, from the newest chunk that had it.
    """
    dropped = [part for part in chunks.in_state(connection, ChunkState.DROPPED, job_id=row.id) if part.numbers]
    opened = [
        part
        for state in (ChunkState.READY, ChunkState.ISSUED)
        for part in chunks.in_state(connection, state, job_id=row.id)
    ]
    seen = {number for part in opened for number in part.numbers}
    revived = 0
    for part in reversed(dropped):
        lost = [number for number in part.numbers if number not in seen]
        seen.update(lost)
        ended = endings.ended(connection, row.id, lost)
        left = Numbers.of(number for number in lost if number not in ended)
        if left:
            new = NewChunk(
                job=row.id, kind="render", numbers=left, plan=part.plan_id, model=part.model, faults=part.faults,
                avoid=part.avoid,
            )  # fmt: skip
            chunks.add(connection, new)
            revived += len(left)
    return revived
