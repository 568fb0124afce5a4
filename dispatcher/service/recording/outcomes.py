"""What comes of a run, in the rows of its job: images made or failed, and new chunks for those left undone."""

import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from dispatcher.planning.suspects import Part, sentence
from dispatcher.service.recording.describing import image_rows
from dispatcher.service.steps import finish_if_complete
from dispatcher.wording import counted
from storage.spec import Job
from storage.sql import chunks, events, images, jobs
from storage.sql.chunks import ChunkRow, NewChunk
from storage.sql.jobs import JobRow
from storage.sql.tables import job as job_table
from storage.states import JobState
from storage.wire.messages import FailedImage, Manifest

OWN_FAULTS = frozenset({"crash", "hung", "device_error"})  # what ends a run by the fault of some of its images


def outcome_of(manifest: Manifest) -> str:
    """How the history of its job tells of a manifest that was recorded."""
    if manifest.fault is not None:
        return f"recorded: {manifest.fault.reason}"
    return "recorded: in part, the rest was not tried" if manifest.untried else "recorded"


def add_rows(connection: Connection, manifest: Manifest, *, chunk: ChunkRow, job: Job) -> None:
    """Write the images of a manifest, count them, and close the job where they were the last ones."""
    row = jobs.get(connection, chunk.job)
    assert row.models is not None
    images.add(connection, image_rows(connection, manifest, chunk=chunk, job=job, models=row.models))
    jobs.change(
        connection, row.id, done=job_table.c.done + len(manifest.images),
        failed=job_table.c.failed + len(manifest.failed),
    )  # fmt: skip
    finish_if_complete(connection, row.id, now=time.time())


def go_on(
    connection: Connection, chunk: ChunkRow, parts: Sequence[Part], *, reason: str, node: str, job: Job | None = None
) -> None:
    """Make new chunks of what a run left undone; an image that ended its last run fails.

    Args:
        connection: A writing transaction of the leader.
        chunk: That was run; it is final by now.
        parts: Of its images.
        reason: That an image fails with.
        node: The worker that ran it.
        job: Its images; needed where a part has failed.
    """
    state = jobs.get(connection, chunk.job).state
    if state in (JobState.DONE, JobState.CANCELLED):
        return
    for part in parts:
        made = _add_chunk(connection, chunk, part, node=node)
        if not part.accused and reason in OWN_FAULTS:
            chunks.note_rest(connection, made, lost=chunk, node=node, now=time.time())
        if part.accused:
            goes = f"{counted(len(part.numbers), 'image')} {'goes' if len(part.numbers) == 1 else 'go'} on"
            told = f"chunk {chunk.number} on {node}: {goes} as chunk {made.number}"
            events.add(connection, chunk.job, "suspects", f"{told}, faults {part.faults}")
        if part.failed and job is not None:
            _fail_alone(connection, made, run=chunk, job=job, reason=reason, node=node)
        elif state == JobState.FAILED:  # kept until the job is tried once more
            chunks.drop(connection, made, why=str(state), now=time.time())


def nothing_made(chunk: ChunkRow, *, reason: str, details: Mapping[int, str], node: str | None = None) -> Manifest:
    """What stands for the manifest of a run that left none: images that failed, and why."""
    now = time.time()
    return Manifest(
        job=chunk.job, chunk=chunk.number, attempt=chunk.attempt, run="none", node=node or chunk.node or "",
        boot="none", spec_hash="", plan=chunk.plan, environment={}, models={}, started=now, finished=now, seconds={},
        failed=[FailedImage(number=number, reason=reason, detail=text) for number, text in details.items()],
    )  # fmt: skip


def checkpoint_of(row: JobRow, chunk: ChunkRow) -> str:
    """Digest of the checkpoint that a chunk is rendered with; empty while nobody knows."""
    facts = None if row.models is None or chunk.model is None else row.models.get(chunk.model)
    return "" if facts is None else facts.digest


def _add_chunk(connection: Connection, chunk: ChunkRow, part: Part, *, node: str) -> ChunkRow:
    new = NewChunk(
        job=chunk.job, kind=chunk.kind, numbers=part.numbers, plan=chunk.plan_id, model=chunk.model,
        faults=part.faults, avoid=chunk.avoid | {node} if part.accused else chunk.avoid,
    )  # fmt: skip
    made = chunks.get(connection, chunk.job, chunks.add(connection, new))
    assert made is not None
    return made


def _fail_alone(connection: Connection, alone: ChunkRow, *, run: ChunkRow, job: Job, reason: str, node: str) -> None:
    """Fail the one image of a new chunk; its row names the run that it ended."""
    (number,) = alone.numbers
    detail = sentence(reason, job=alone.job, number=number, faults=alone.faults, node=node)
    chunks.finish(connection, alone, outcome="given up", now=time.time())
    said = nothing_made(run, reason=reason, details={number: detail}, node=node)
    add_rows(connection, said, chunk=alone, job=job)
