"""Extending a job that runs, is done, waits or was given up: only new images are rendered, nothing moves."""

from pathlib import Path
from typing import Any

import pytest

from desk import DispatcherDesk
from dispatcher.extension import reopen_grown, store_extension
from storage.errors import UserError
from storage.spec import Job, Spec
from storage.spec.growth import add_values
from storage.spec_store import SpecStore
from storage.sql import Database, events, jobs
from storage.sql.jobs import JobRow
from storage.states import ChunkState, JobState, Wish

CAP = 10**6


@pytest.fixture
def desk(tmp_path: Path, database: Database, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url)


def spec_of(desk: DispatcherDesk, row: JobRow) -> Spec:
    return SpecStore(desk.store).load(row.id, spec_hash=row.spec_hash).spec


def extend(desk: DispatcherDesk, job_id: str, *, row: JobRow | None = None, **more: Any) -> JobRow:
    """Extend a job as the command does; `row` is what the command read of it, if that is older than now."""
    row = row or desk.job(job_id)
    known = spec_of(desk, row)
    longer = add_values(known, **more, max_images=CAP)
    return store_extension(row, longer, known=known, database=desk.database, store=desk.store)


def reopen(desk: DispatcherDesk) -> list[str]:
    with desk.database.write() as connection:
        desk.lead.fence(connection)
        return reopen_grown(connection)


def enter(desk: DispatcherDesk, job_id: str, state: JobState) -> None:
    with desk.database.write() as connection:
        assert jobs.enter(connection, job_id, state)


def check_complete(desk: DispatcherDesk, job_id: str) -> None:
    """Every image of the job is there once, as the spec says it."""
    row = desk.job(job_id)
    job, images = Job(spec_of(desk, row)), desk.images(job_id)
    assert (row.state, row.done) == (JobState.DONE, job.images)
    assert sorted(images) == [place.number for place in job if place is not None]
    for number, image in images.items():
        place = job[number]
        assert place is not None
        assert image.seed == place.values["seed"]
    chunks = [chunk for chunk in desk.chunks(ChunkState.DONE) if chunk.job == job_id and chunk.kind == "render"]
    rendered = [number for chunk in chunks for number in chunk.numbers]
    assert len(rendered) == len(set(rendered))


def test_a_job_that_is_done_goes_on_with_the_new_images(desk: DispatcherDesk) -> None:
    job_id = desk.submit()
    desk.finish()
    before, chunks = desk.images(job_id), len(desk.chunks(ChunkState.DONE))

    row = extend(desk, job_id, seeds=2)
    reopened = reopen(desk)
    now = desk.job(job_id)
    desk.finish()

    assert (row.state, row.images, row.positions) == (JobState.DONE, 20, 20)
    assert (reopened, now.state, now.finished_at) == ([job_id], JobState.RUNNING, None)
    check_complete(desk, job_id)
    assert {number: image for number, image in desk.images(job_id).items() if number < 16} == before
    added = desk.chunks(ChunkState.DONE)[chunks:]
    assert sum(chunk.images for chunk in added) == 4


def test_a_job_that_runs_goes_on_from_its_cursor(desk: DispatcherDesk) -> None:
    job_id, _ = desk.started()
    cursor = desk.job(job_id).cursor

    row = extend(desk, job_id, prompts=["c"], seeds=1)

    assert (row.state, row.cursor, row.images) == (JobState.RUNNING, cursor, 27)
    assert reopen(desk) == []
    desk.finish()
    check_complete(desk, job_id)


def test_a_chunk_that_is_out_is_recorded_by_the_spec_it_was_cut_by(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    old = desk.job(job_id).spec_hash

    extend(desk, job_id, seeds=1)
    recorded = desk.recorder.record(desk.put(desk.manifest(chunk, spec_hash=old)))

    assert recorded
    assert set(chunk.numbers) <= set(desk.images(job_id))
    desk.finish()
    check_complete(desk, job_id)


def test_a_job_is_extended_again_and_again(desk: DispatcherDesk) -> None:
    job_id = desk.submit()
    hashes = [desk.job(job_id).spec_hash]

    hashes.append(extend(desk, job_id, seeds=1).spec_hash)  # before its models are known
    desk.feed()
    hashes.append(extend(desk, job_id, prompts=["c"]).spec_hash)  # while they are looked for
    desk.recorder.record(desk.put(desk.manifest(desk.issued(), spec_hash=hashes[1])))
    hashes.append(extend(desk, job_id, seeds=1).spec_hash)
    desk.finish()

    assert list(desk.job(job_id).specs) == hashes[:-1]
    assert desk.job(job_id).spec_hash == hashes[-1]
    assert len(desk.images(job_id)) == 30
    check_complete(desk, job_id)


def test_render_order_is_by_part(desk: DispatcherDesk) -> None:
    job_id = desk.submit(axes={"scheduler": ["ddim", "euler"], "seed": {"count": 4}})
    extend(desk, job_id, seeds=2)
    desk.finish()

    done = sorted(desk.chunks(ChunkState.DONE), key=lambda chunk: chunk.number)

    rendered = [number for chunk in done for number in chunk.numbers]
    assert rendered == list(range(12))
    check_complete(desk, job_id)


def test_empty_places_are_left_out_of_new_parts_too(desk: DispatcherDesk) -> None:
    job_id = desk.submit(exclude=[{"prompt": "b", "seed": [7, 8, 9]}])
    desk.finish()
    assert desk.job(job_id).done == 15
    assert reopen(desk) == []  # though its cursor may stand before the last place, which is empty

    extend(desk, job_id, seeds=3)
    reopen(desk)
    desk.finish()

    assert desk.job(job_id).images == 19
    check_complete(desk, job_id)


@pytest.mark.parametrize("state", [JobState.PAUSED, JobState.STOPPED])
def test_a_job_that_waits_still_waits(desk: DispatcherDesk, state: JobState) -> None:
    job_id, _ = desk.started()
    enter(desk, job_id, state)

    row = extend(desk, job_id, seeds=2)

    assert (row.state, row.images) == (state, 20)
    assert reopen(desk) == []
    enter(desk, job_id, JobState.RUNNING)
    desk.finish()
    check_complete(desk, job_id)


def test_failures_from_before_do_not_count_against_a_job_that_goes_on(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started(axes={"seed": {"count": 4}})
    errors = [{"number": number, "reason": "error", "detail": "x"} for number in chunk.numbers]
    desk.recorder.record(desk.put(desk.manifest(chunk, failed=errors)))
    desk.finish()

    extend(desk, job_id, seeds=1)
    reopen(desk)

    row = desk.job(job_id)
    assert (row.failed, row.forgiven, row.state) == (4, 4, JobState.RUNNING)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        pytest.param(JobState.CANCELLED, "is cancelled; submit the file as a new job", id="cancelled"),
        pytest.param(JobState.FAILED, "farm retry", id="failed"),
    ],
)
def test_a_job_that_was_given_up_is_not_extended(desk: DispatcherDesk, state: JobState, said: str) -> None:
    job_id = desk.submit()
    enter(desk, job_id, state)

    with pytest.raises(UserError, match=said):
        extend(desk, job_id, seeds=1)


def test_a_job_that_is_to_be_cancelled_is_not_extended(desk: DispatcherDesk) -> None:
    job_id = desk.submit()
    with desk.database.write() as connection:
        jobs.wish(connection, job_id, Wish.CANCEL)

    with pytest.raises(UserError, match="is cancelled"):
        extend(desk, job_id, seeds=1)


def test_of_two_extensions_at_once_one_is_refused(desk: DispatcherDesk) -> None:
    job_id = desk.submit()
    read = desk.job(job_id)

    first = extend(desk, job_id, row=read, seeds=1)
    with pytest.raises(UserError, match="extended by another command just now; give yours again"):
        extend(desk, job_id, row=read, prompts=["c"])

    assert desk.job(job_id).spec_hash == first.spec_hash


def test_a_job_that_is_cancelled_meanwhile_is_not_extended(desk: DispatcherDesk) -> None:
    job_id = desk.submit()
    read = desk.job(job_id)
    enter(desk, job_id, JobState.CANCELLED)

    with pytest.raises(UserError, match="is cancelled"):
        extend(desk, job_id, row=read, seeds=1)

    assert desk.job(job_id).spec_hash == read.spec_hash


def test_an_extension_is_an_event_of_its_job(desk: DispatcherDesk) -> None:
    job_id = desk.submit()

    extend(desk, job_id, seeds=1)

    with desk.database.read() as connection:
        said = [(event.what, event.detail) for event in events.of_job(connection, job_id)]
    assert ("extended", "from 16 to 18 images") in said
