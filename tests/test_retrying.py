"""Failed images once more: only those, as often as wished, and what was made stays as it is."""

from pathlib import Path

import pytest

from desk import MODEL, DispatcherDesk, failed
from storage.sql import Database, endings, workers
from storage.states import ChunkState, JobState, Wish
from storage.wire.messages import ModelEntry


@pytest.fixture
def desk(database: Database, tmp_path: Path, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url)


@pytest.fixture
def light_desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url)


def with_failures(desk: DispatcherDesk, *numbers: int, reason: str = "error") -> str:
    """A job that is done but for these images."""
    job_id, chunk = desk.started(plan={"batch": 16})
    entries = [failed(number, reason=reason) for number in numbers]
    desk.recorder.record(desk.put(desk.manifest(chunk, failed=entries)))
    assert desk.job(job_id).state == JobState.DONE
    return job_id


def test_a_retry_renders_the_failed_images_and_no_other(desk: DispatcherDesk) -> None:
    job_id = with_failures(desk, 3, 5, 9)
    before = {number: row.run for number, row in desk.images(job_id).items()}

    desk.wish(job_id, retry=[])
    under_way = desk.job(job_id)
    (ready,) = desk.chunks(ChunkState.READY)
    desk.finish()

    row, after = desk.job(job_id), {number: image.run for number, image in desk.images(job_id).items()}
    assert (under_way.state, under_way.failed, under_way.retry, under_way.finished_at) == ("running", 0, None, None)
    assert sorted(ready.numbers) == [3, 5, 9]
    assert (row.state, row.done, row.failed) == (JobState.DONE, 16, 0)
    assert {number for number in before if before[number] != after[number]} == {3, 5, 9}


def test_a_retry_of_some_images_leaves_the_others_and_tells_what_it_passed_over(desk: DispatcherDesk) -> None:
    job_id = with_failures(desk, 3, 5, 9)

    desk.wish(job_id, retry=[5, 2, 99])
    desk.finish()

    assert {number for number, row in desk.images(job_id).items() if row.state == "failed"} == {3, 9}
    assert (desk.job(job_id).done, desk.job(job_id).failed, desk.job(job_id).forgiven) == (14, 2, 2)
    assert desk.events(job_id)["retry"].endswith("did not fail: 2, 99")


def test_a_retry_of_nothing_changes_nothing(light_desk: DispatcherDesk) -> None:
    job_id = with_failures(light_desk, 3)

    light_desk.wish(job_id, retry=[4])

    assert (light_desk.job(job_id).state, light_desk.job(job_id).failed) == (JobState.DONE, 1)
    assert light_desk.job(job_id).retry is None


def test_an_image_that_ended_its_workers_is_tried_alone(light_desk: DispatcherDesk) -> None:
    job_id = with_failures(light_desk, 3, reason="crash")

    light_desk.wish(job_id, retry=[])

    assert [chunk.faults for chunk in light_desk.chunks(ChunkState.READY)] == [1]


def test_a_limit_of_memory_is_forgotten_for_a_changed_device(light_desk: DispatcherDesk) -> None:
    job_id = with_failures(light_desk, 3, reason="out_of_memory")
    with light_desk.database.write() as connection:
        plan_id = endings.failed(connection, job_id, None)[0].plan_id
        for model in (MODEL.digest, "another"):
            workers.note_limit(
                connection, device="d", plan_id=plan_id, model=model, size=(64, 64), detail="", now=1.0
            )  # fmt: skip

    light_desk.wish(job_id, retry=[])

    with light_desk.database.read() as connection:
        assert [limit.model for limit in workers.limits(connection)] == ["another"]


def test_a_paused_job_takes_a_retry_and_stays_paused(light_desk: DispatcherDesk) -> None:
    job_id, chunk = light_desk.started()
    light_desk.recorder.record(light_desk.put(light_desk.manifest(chunk, failed=[failed(next(iter(chunk.numbers)))])))
    light_desk.wish(job_id, Wish.PAUSE)

    light_desk.wish(job_id, Wish.PAUSE, retry=[])
    paused = light_desk.job(job_id)
    light_desk.wish(job_id, Wish.RESUME)
    light_desk.finish()

    assert (paused.state, paused.failed) == (JobState.PAUSED, 0)
    assert (light_desk.job(job_id).state, light_desk.job(job_id).done) == (JobState.DONE, 16)


def test_a_cancelled_job_is_not_tried_again(light_desk: DispatcherDesk) -> None:
    job_id, chunk = light_desk.started()
    light_desk.recorder.record(light_desk.put(light_desk.manifest(chunk, failed=[failed(next(iter(chunk.numbers)))])))
    light_desk.cancel(job_id)

    light_desk.wish(job_id, Wish.CANCEL, retry=[])

    assert (light_desk.job(job_id).state, light_desk.job(job_id).retry) == (JobState.CANCELLED, None)
    assert "retry passed over" in light_desk.events(job_id)


def test_a_failed_job_is_tried_from_where_it_stood(desk: DispatcherDesk) -> None:
    job_id, first = desk.started()
    desk.recorder.record(desk.put(desk.manifest(first)))
    left = [[number, number + 1, 1] for number in list(desk.issued().numbers)[1:]]
    desk.recorder.record(desk.put(desk.manifest(desk.issued(), untried=left)))
    desk.feed()
    one, two = desk.chunks()[:2]
    desk.recorder.record(desk.put(desk.manifest(one, images=[], fatal="no weights")))
    desk.recorder.record(desk.put(desk.manifest(two, untried=two.numbers.to_json(), images=[])))
    assert desk.job(job_id).state == JobState.FAILED
    made = desk.job(job_id).done

    desk.wish(job_id, retry=[])
    queued = desk.job(job_id)
    for _ in range(20):
        desk.feed()
        for chunk in desk.chunks():
            desk.recorder.record(desk.put(desk.manifest(chunk)))
        desk.wishes.fulfil()

    row = desk.job(job_id)
    assert (queued.state, queued.reason, queued.done) == (JobState.QUEUED, None, made)
    assert (row.state, row.done, row.failed) == (JobState.DONE, 16, 0)
    assert sorted(desk.images(job_id)) == list(range(16))


def test_a_job_that_fails_again_stays_failed(light_desk: DispatcherDesk) -> None:
    job_id = light_desk.submit()
    for _ in range(2):
        light_desk.feed()
        chunk = light_desk.issued()
        light_desk.recorder.record(light_desk.put(light_desk.manifest(chunk, models={}, fatal="no model")))
        assert light_desk.job(job_id).state == JobState.FAILED
        light_desk.wish(job_id, retry=[])
        assert light_desk.job(job_id).state == JobState.QUEUED

    light_desk.feed()
    chunk = light_desk.issued()
    light_desk.recorder.record(light_desk.put(light_desk.manifest(chunk, models={}, fatal="no model")))
    light_desk.wishes.fulfil()

    assert (light_desk.job(job_id).state, light_desk.job(job_id).retry) == (JobState.FAILED, None)


def test_a_job_is_not_mixed_from_two_models(light_desk: DispatcherDesk) -> None:
    job_id, first = light_desk.started()
    light_desk.recorder.record(light_desk.put(light_desk.manifest(first)))
    light_desk.recorder.record(light_desk.put(light_desk.manifest(light_desk.issued(), images=[], fatal="gone")))
    light_desk.wish(job_id, retry=[])
    light_desk.feed()
    other = ModelEntry(**{**MODEL.model_dump(), "digest": "sha256:other"}).model_dump()
    resolve = next(chunk for chunk in light_desk.chunks() if chunk.kind == "resolve")

    light_desk.recorder.record(light_desk.put(light_desk.manifest(resolve, models={"./m": other})))

    assert light_desk.job(job_id).state == JobState.FAILED
    assert "other bytes" in str(light_desk.job(job_id).reason)
