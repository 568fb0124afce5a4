"""Wishes become states: nothing is rendered twice or forgotten, whatever a user wishes while chunks are under way."""

from pathlib import Path
from typing import Any

import pytest

from desk import DispatcherDesk, failed
from dispatcher.views.history import read_history
from storage.sql import Database, chunks, events, jobs, workers
from storage.sql.chunks import ChunkRow
from storage.sql.tables import leader
from storage.states import ChunkState, JobState, Wish
from storage.wire import keys


@pytest.fixture
def desk(database: Database, tmp_path: Path, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url, stop_after_failures=4)


@pytest.fixture
def light_desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url, stop_after_failures=4)


def partial(desk: DispatcherDesk, chunk: ChunkRow, *, made: int, **changes: Any) -> str:
    """The manifest of a run that was stopped after some images."""
    rest = [[number, number + 1, 1] for number in list(chunk.numbers)[made:]]
    return desk.put(desk.manifest(chunk, untried=rest, **changes))


def begin(desk: DispatcherDesk, chunk: ChunkRow) -> None:
    """The worker takes the token of one chunk."""
    desk.redis.delete(keys.token_key(chunk.job, chunk.number, chunk.attempt))


def waits(desk: DispatcherDesk, chunk: ChunkRow) -> bool:
    return bool(desk.redis.exists(keys.token_key(chunk.job, chunk.number, chunk.attempt)))


def test_a_job_that_is_paused_in_the_middle_of_a_chunk_makes_every_image_once(desk: DispatcherDesk) -> None:
    job_id, running = desk.started()
    begin(desk, running)

    stopped = desk.wish(job_id, Wish.PAUSE)
    desk.recorder.record(partial(desk, running, made=1))
    paused = desk.job(job_id)

    assert stopped == [job_id]
    assert (paused.state, paused.done) == (JobState.PAUSED, 1)
    assert "in part" in [entry for entry in read_history(desk.database, job_id, limit=50) if entry.chunk][-1].detail
    assert desk.feed() == 0
    assert desk.chunks() == []  # the one that waited was withdrawn
    assert desk.wish(job_id, Wish.RESUME) == []
    assert (desk.job(job_id).state, desk.job(job_id).wish) == (JobState.RUNNING, Wish.RUN)
    desk.finish()
    assert (desk.job(job_id).state, sorted(desk.images(job_id))) == (JobState.DONE, list(range(16)))


def test_what_waits_is_withdrawn_without_a_loss(light_desk: DispatcherDesk) -> None:
    job_id, running = light_desk.started()
    begin(light_desk, running)
    (waiting,) = [chunk for chunk in light_desk.chunks() if chunk.number != running.number]
    assert waits(light_desk, waiting)

    light_desk.wish(job_id, Wish.PAUSE)

    (ready,) = light_desk.chunks(ChunkState.READY)
    assert (ready.number, ready.faults, ready.avoid) == (waiting.number, 0, frozenset())
    assert not waits(light_desk, waiting)
    assert [chunk.number for chunk in light_desk.chunks()] == [running.number]
    with light_desk.database.read() as connection:
        assert chunks.lost_nodes(connection, [ready]) == {ready.id: set()}


def test_a_pause_after_chunks_lets_what_runs_end(light_desk: DispatcherDesk) -> None:
    job_id, running = light_desk.started()
    begin(light_desk, running)

    stopped = light_desk.wish(job_id, Wish.PAUSE_AFTER_CHUNKS)
    light_desk.recorder.record(light_desk.put(light_desk.manifest(running)))

    assert stopped == []
    assert (light_desk.job(job_id).state, light_desk.job(job_id).done) == (JobState.PAUSED, len(running.numbers))


def test_a_paused_job_whose_last_chunk_comes_in_is_done(light_desk: DispatcherDesk) -> None:
    job_id, running = light_desk.started(plan={"batch": 16})
    begin(light_desk, running)

    light_desk.wish(job_id, Wish.PAUSE)
    light_desk.recorder.record(light_desk.put(light_desk.manifest(running)))

    row = light_desk.job(job_id)
    assert (row.state, row.wish) == (JobState.DONE, Wish.RUN)  # else it would be paused once it is extended


def test_a_job_is_paused_before_anybody_read_its_models_but_not_while(light_desk: DispatcherDesk) -> None:
    early, late = light_desk.submit(), light_desk.submit()
    light_desk.wish(early, Wish.PAUSE)
    light_desk.feed()
    light_desk.run_all()

    light_desk.wish(late, Wish.PAUSE)
    meanwhile = light_desk.job(late).state
    light_desk.recorder.record(light_desk.put(light_desk.manifest(light_desk.issued())))
    light_desk.wishes.fulfil()

    assert (light_desk.job(early).state, meanwhile) == (JobState.PAUSED, JobState.RESOLVING)
    assert light_desk.job(late).state == JobState.PAUSED
    for job_id, state in ((early, JobState.QUEUED), (late, JobState.RUNNING)):
        light_desk.wish(job_id, Wish.RESUME)
        assert light_desk.job(job_id).state == state
    light_desk.finish()
    assert {light_desk.job(job_id).state for job_id in (early, late)} == {JobState.DONE}


def test_a_report_about_models_does_not_wake_a_paused_job(light_desk: DispatcherDesk) -> None:
    job_id = light_desk.submit()
    light_desk.feed()
    twin = light_desk.manifest(light_desk.issued())
    light_desk.hear(light_desk.beat())
    light_desk.hear(light_desk.beat(boot="next"))
    light_desk.take_back()
    light_desk.feed(light_desk.beat(boot="next"))
    light_desk.recorder.record(light_desk.put(light_desk.manifest(light_desk.issued())))
    light_desk.wish(job_id, Wish.PAUSE)

    light_desk.recorder.record(light_desk.put(twin))

    assert light_desk.job(job_id).state == JobState.PAUSED


@pytest.mark.parametrize("wish", [Wish.CANCEL, Wish.DROP])
def test_cancelling_keeps_what_is_made_or_drops_it(desk: DispatcherDesk, wish: Wish) -> None:
    job_id, chunk = desk.started()
    desk.recorder.record(desk.put(desk.manifest(chunk, failed=[failed(next(iter(chunk.numbers)))])))
    late = desk.issued()
    begin(desk, late)

    stopped = desk.wish(job_id, wish)
    meanwhile = len(desk.images(job_id))
    desk.recorder.record(partial(desk, late, made=1))
    desk.wishes.fulfil()

    row, kept = desk.job(job_id), wish == Wish.CANCEL
    assert stopped == [job_id]
    assert row.state == JobState.CANCELLED
    assert meanwhile == len(chunk.numbers)  # while a worker has some of it nothing is deleted
    assert len(desk.images(job_id)) == (meanwhile + 1 if kept else 0)
    assert (row.done, row.failed) == ((len(chunk.numbers), 1) if kept else (0, 0))
    assert ("dropped" in desk.events(job_id)) == (not kept)
    assert desk.chunks() == desk.chunks(ChunkState.READY) == []


@pytest.mark.parametrize("wish", [Wish.CANCEL, Wish.DROP])
def test_the_last_chunk_does_not_overtake_a_wish_to_cancel(light_desk: DispatcherDesk, wish: Wish) -> None:
    job_id, chunk = light_desk.started(plan={"batch": 16})
    with light_desk.database.write() as connection:
        jobs.wish(connection, job_id, wish)

    light_desk.recorder.record(light_desk.put(light_desk.manifest(chunk)))
    light_desk.wishes.fulfil()

    assert light_desk.job(job_id).state == JobState.CANCELLED
    assert len(light_desk.images(job_id)) == (16 if wish == Wish.CANCEL else 0)


def test_a_cancelled_job_can_be_dropped_later(light_desk: DispatcherDesk) -> None:
    job_id, chunk = light_desk.started()
    light_desk.recorder.record(light_desk.put(light_desk.manifest(chunk)))
    light_desk.wish(job_id, Wish.CANCEL)
    assert len(light_desk.images(job_id)) == len(chunk.numbers)

    light_desk.wish(job_id, Wish.DROP)

    assert light_desk.images(job_id) == {}
    assert (light_desk.job(job_id).state, light_desk.job(job_id).done) == (JobState.CANCELLED, 0)


def test_a_spent_budget_stops_a_job_and_a_larger_one_lets_it_go_on(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    desk.wish(job_id, max_device_seconds=10.0)
    desk.recorder.record(desk.put(desk.manifest(chunk, seconds={"total": 60.0})))

    desk.wishes.fulfil()

    row = desk.job(job_id)
    assert row.state == JobState.STOPPED
    assert "budget spent" in str(row.reason)
    assert desk.feed() == 0
    desk.wish(job_id, Wish.RESUME)
    desk.wishes.fulfil()
    assert desk.job(job_id).state == JobState.STOPPED  # nothing has changed
    desk.wish(job_id, Wish.RESUME, max_device_seconds=3600.0)
    desk.finish()
    assert (desk.job(job_id).state, desk.job(job_id).done, desk.job(job_id).reason) == (JobState.DONE, 16, None)


def test_a_passed_deadline_stops_a_job_and_what_runs_already_counts(light_desk: DispatcherDesk) -> None:
    job_id, chunk = light_desk.started()
    begin(light_desk, chunk)

    stopped = light_desk.wish(job_id, deadline=1.0)
    light_desk.recorder.record(light_desk.put(light_desk.manifest(chunk)))

    assert stopped == []
    assert light_desk.job(job_id).state == JobState.STOPPED
    assert light_desk.job(job_id).done == len(chunk.numbers)
    assert light_desk.chunks() == []


def test_a_deadline_stops_a_job_that_never_began(light_desk: DispatcherDesk) -> None:
    job_id = light_desk.submit()

    light_desk.wish(job_id, deadline=1.0)
    assert light_desk.job(job_id).state == JobState.STOPPED
    light_desk.wish(job_id, Wish.RESUME, deadline=None)
    assert light_desk.job(job_id).state == JobState.QUEUED


def test_a_job_that_fails_everywhere_stops_itself_until_its_user_says_go_on(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    desk.recorder.record(desk.put(desk.manifest(chunk, failed=[failed(number) for number in chunk.numbers])))

    desk.wishes.fulfil()

    row = desk.job(job_id)
    assert row.state == JobState.STOPPED
    assert "4 images failed, the last one: error: x" in str(row.reason)
    assert f"farm logs {job_id}" in str(row.reason)
    desk.wish(job_id, Wish.RESUME)
    desk.wishes.fulfil()
    assert (desk.job(job_id).state, desk.job(job_id).forgiven) == (JobState.RUNNING, 4)
    desk.finish()
    assert (desk.job(job_id).done, desk.job(job_id).failed) == (12, 4)


def test_a_few_failures_among_many_images_stop_nothing(light_desk: DispatcherDesk) -> None:
    job_id, chunk = light_desk.started(plan={"batch": 16})
    numbers = list(chunk.numbers)

    light_desk.recorder.record(partial(light_desk, chunk, made=12, failed=[failed(number) for number in numbers[:5]]))
    light_desk.wishes.fulfil()

    assert (light_desk.job(job_id).failed, light_desk.job(job_id).state) == (5, JobState.RUNNING)


def test_a_drained_worker_gives_back_what_waits_and_a_stopped_one_what_runs(light_desk: DispatcherDesk) -> None:
    _, running = light_desk.started()
    begin(light_desk, running)
    with light_desk.database.write() as connection:
        workers.wish_worker(connection, "n1", "drain", 1.0)

    drained = light_desk.wishes.fulfil()
    with light_desk.database.write() as connection:
        workers.wish_worker(connection, "n1", "stop", 1.0)
    stopped = light_desk.wishes.fulfil()

    assert [chunk.number for chunk in light_desk.chunks()] == [running.number]
    assert len(light_desk.chunks(ChunkState.READY)) == 1
    assert (drained.nodes, stopped.nodes) == (frozenset(), frozenset({"n1"}))
    assert light_desk.feed() == 0
    assert light_desk.feed(light_desk.beat("n2")) >= 1


def test_a_round_without_wishes_writes_nothing(light_desk: DispatcherDesk) -> None:
    light_desk.started()
    with light_desk.database.read() as connection:
        before = connection.execute(leader.select()).one().beat

    light_desk.wishes.fulfil()

    with light_desk.database.read() as connection:
        assert connection.execute(leader.select()).one().beat == before


def test_every_change_of_state_is_told(light_desk: DispatcherDesk) -> None:
    job_id, _ = light_desk.started()

    light_desk.wish(job_id, Wish.PAUSE)
    light_desk.wish(job_id, Wish.RESUME)
    light_desk.wish(job_id, Wish.CANCEL)

    with light_desk.database.read() as connection:
        told = [event.what for event in events.of_job(connection, job_id)]
    assert told == ["resolving", "running", "paused", "running", "cancelled"]


def test_a_job_keeps_its_newest_events(light_desk: DispatcherDesk) -> None:
    with light_desk.database.write() as connection:
        for turn in range(30):
            events.add(connection, "j", "turn", str(turn))

        events.trim(connection, "j", kept=10)

        assert [event.detail for event in events.of_job(connection, "j")] == [str(turn) for turn in range(20, 30)]
