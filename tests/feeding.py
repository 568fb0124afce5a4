"""What tests of the feeder share: jobs that wait to be cut, and what was issued of them."""

from typing import Any

from desk import MODEL, DispatcherDesk
from storage.sql import jobs
from storage.sql.chunks import ChunkRow
from storage.states import ChunkState, JobState, Priority, Reuse


def resolved(
    desk: DispatcherDesk, *, priority: Priority = Priority.NORMAL, reuse: Reuse = Reuse.OFF, **entries: Any
) -> str:
    """A job whose models are known, of which nothing is cut yet."""
    job_id = desk.submit(**entries)
    with desk.database.write() as connection:
        row = jobs.get(connection, job_id)
        names = desk.feeder._spec(row).spec.models
        models = {name: MODEL.model_dump() for name in names}
        jobs.enter(connection, job_id, JobState.RESOLVING)
        jobs.enter(connection, job_id, JobState.RUNNING, models=models, priority=priority, reuse=reuse)
    return job_id


def of_job(desk: DispatcherDesk, job_id: str, state: ChunkState = ChunkState.ISSUED) -> list[ChunkRow]:
    return [chunk for chunk in desk.chunks(state) if chunk.job == job_id]


def record(desk: DispatcherDesk, chunk: ChunkRow) -> None:
    desk.recorder.record(desk.put(desk.manifest(chunk)))


def first_of(desk: DispatcherDesk, **entries: Any) -> tuple[str, ChunkRow]:
    """A job with one chunk issued: all of its images."""
    job_id = resolved(desk, axes={"seed": {"count": 8}}, **entries)
    desk.feed()
    (chunk,) = of_job(desk, job_id)
    return job_id, chunk


def enter(desk: DispatcherDesk, job_id: str, state: JobState, **values: Any) -> None:
    with desk.database.write() as connection:
        assert jobs.enter(connection, job_id, state, **values)


def change(desk: DispatcherDesk, job_id: str, **values: Any) -> None:
    with desk.database.write() as connection:
        jobs.change(connection, job_id, **values)
