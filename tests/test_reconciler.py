"""What was promised and not heard of: recorded where its manifest lies, else offered again; wishes become states."""

from pathlib import Path

import pytest

from desk import MODEL, SILENCE_S, DispatcherDesk, failed
from dispatcher.service.broker import Broker
from dispatcher.service.feeding.feeder import Feeder
from storage.errors import BrokerAway, StoreAway
from storage.spec_store import SpecStore
from storage.sql import Database, workers
from storage.states import ChunkState, JobState
from storage.wire import keys


@pytest.fixture
def desk(database: Database, tmp_path: Path, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url)


@pytest.fixture
def light_desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url)


def lose(desk: DispatcherDesk, *, boot: str = "b") -> None:
    """Everything that is issued is in the hands of a worker that restarts."""
    desk.hear(desk.beat(boot=boot))
    desk.hear(desk.beat(boot=f"{boot}-next"))
    desk.take_back()


def test_a_lost_chunk_is_offered_again_with_the_next_attempt(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    token = keys.token_key(job_id, chunk.number, 1)
    assert desk.redis.exists(token)

    lose(desk)

    assert {part.attempt for part in desk.chunks(ChunkState.READY)} == {1}
    assert desk.chunks() == []
    assert not desk.redis.exists(token)
    desk.feed(desk.beat("n2", boot="b"), desk.beat("n1", boot="b-next"))
    assert {part.node for part in desk.chunks() if part.attempt == 2} == {"n2"}  # elsewhere
    desk.finish()
    assert desk.job(job_id).done == 16


def test_a_manifest_in_the_store_is_recorded_instead_of_rendered_again(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    desk.put(desk.manifest(chunk))  # and the `record` message was lost

    lose(desk)

    assert sorted(desk.images(job_id)) == sorted(chunk.numbers)
    assert chunk.number not in [part.number for part in desk.chunks(ChunkState.READY)]


def test_a_manifest_that_comes_in_after_its_chunk_was_given_up_still_counts(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    lose(desk)

    assert desk.recorder.record(desk.put(desk.manifest(chunk)))

    assert sorted(desk.images(job_id)) == sorted(chunk.numbers)
    desk.finish()
    assert (desk.job(job_id).done, desk.job(job_id).state) == (16, JobState.DONE)


def test_a_refused_manifest_does_not_keep_a_chunk_from_being_offered(light_desk: DispatcherDesk) -> None:
    _, chunk = light_desk.started()
    light_desk.put({**light_desk.manifest(chunk), "images": []})

    lose(light_desk)

    assert chunk.number in [part.number for part in light_desk.chunks(ChunkState.READY)]


def test_fifty_losses_in_a_row_that_the_farm_caused_fail_nothing(light_desk: DispatcherDesk) -> None:
    job_id, first = light_desk.started()

    for turn in range(50):
        lose(light_desk, boot=f"b{turn}")
        light_desk.feed(light_desk.beat(boot=f"b{turn + 1}"))

    again = next(chunk for chunk in light_desk.chunks() if chunk.number == first.number)
    assert (again.attempt, again.faults) == (51, 0)
    assert light_desk.images(job_id) == {}
    light_desk.finish()
    assert (light_desk.job(job_id).done, light_desk.job(job_id).failed) == (16, 0)


def test_a_resolve_chunk_that_is_lost_again_and_again_still_comes_to_something(light_desk: DispatcherDesk) -> None:
    job_id = light_desk.submit()

    for turn in range(10):
        light_desk.feed(light_desk.beat(boot=f"b{turn}"))
        lose(light_desk, boot=f"b{turn}")

    light_desk.finish()
    assert light_desk.job(job_id).state == JobState.DONE


def test_a_run_that_breaks_without_a_manifest_lets_its_worker_rest(light_desk: DispatcherDesk) -> None:
    _, chunk = light_desk.started(plan={"batch": 16})

    for _ in range(3):
        chunk = light_desk.issued()
        light_desk.hear(light_desk.beat(holding=chunk))
        light_desk.hear(light_desk.beat(), after=4)
        light_desk.take_back()
        light_desk.feed()

    assert light_desk.chunks() == []
    with light_desk.database.read() as connection:
        assert ("n1", MODEL.digest) in workers.rests(connection, 0)


def test_silence_takes_a_chunk_back_only_after_its_time(light_desk: DispatcherDesk) -> None:
    _, chunk = light_desk.started()
    light_desk.hear(light_desk.beat(holding=chunk))

    light_desk.hear(after=SILENCE_S)
    light_desk.take_back()
    early = light_desk.chunks(ChunkState.READY)
    light_desk.hear(after=1)
    light_desk.take_back()

    assert early == []
    assert light_desk.chunks() == []


def test_nothing_is_taken_back_while_the_store_cannot_answer(light_desk: DispatcherDesk) -> None:
    light_desk.started()
    (light_desk.folder / "store").rename(light_desk.folder / "away")

    with pytest.raises(StoreAway):
        lose(light_desk)

    assert light_desk.chunks(ChunkState.READY) == []


def test_a_broker_that_forgot_offers_again_what_only_it_knew(light_desk: DispatcherDesk) -> None:
    _, running = light_desk.started()
    light_desk.hear(light_desk.beat(holding=running))
    light_desk.redis.flushdb()

    light_desk.take_back(forgot=True)

    assert [part.number for part in light_desk.chunks()] == [running.number]
    assert len(light_desk.chunks(ChunkState.READY)) == 1


def test_cancelling_keeps_what_is_done_and_what_still_comes(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    desk.recorder.record(desk.put(desk.manifest(chunk, failed=[failed(next(iter(chunk.numbers)))])))
    late = desk.issued()
    desk.run_all()

    stopped = desk.cancel(job_id)

    assert stopped == [job_id]
    assert desk.feed() == 0
    left = [[number, number + 1, 1] for number in list(late.numbers)[1:]]
    desk.recorder.record(desk.put(desk.manifest(late, untried=left)))
    row = desk.job(job_id)
    assert (row.state, row.done, row.failed) == (JobState.CANCELLED, len(chunk.numbers), 1)
    assert len(desk.images(job_id)) == len(chunk.numbers) + 1
    assert desk.chunks(ChunkState.READY) == []
    assert desk.cancel(job_id) == []


def test_a_cancelled_jobs_lost_chunk_is_dropped(light_desk: DispatcherDesk) -> None:
    job_id, _ = light_desk.started()
    light_desk.run_all()
    light_desk.cancel(job_id)

    lose(light_desk)

    assert light_desk.chunks() == light_desk.chunks(ChunkState.READY) == []
    assert light_desk.chunks(ChunkState.DROPPED) != []


def test_a_job_that_waits_can_be_cancelled(light_desk: DispatcherDesk) -> None:
    job_id = light_desk.submit()

    light_desk.cancel(job_id)

    assert light_desk.job(job_id).state == JobState.CANCELLED
    assert light_desk.feed() == 0


def test_a_broker_that_is_away_costs_no_image(desk: DispatcherDesk) -> None:
    job_id = desk.submit()
    feeder = Feeder(
        desk.database, Broker("redis://127.0.0.1:1/0"), SpecStore(desk.store), chunk_s=60,
        give_up=desk.recorder.give_up,
    )  # fmt: skip

    with pytest.raises(BrokerAway):
        feeder.feed([desk.beat()], fence=desk.lead.fence)

    desk.hear(desk.beat())
    desk.take_back()  # the worker is idle beside a chunk of which it never heard
    desk.hear(desk.beat(), after=11)
    desk.take_back()
    desk.finish()
    assert (desk.job(job_id).state, desk.job(job_id).done) == (JobState.DONE, 16)


def test_watching_forgets_what_was_recorded(light_desk: DispatcherDesk) -> None:
    _, chunk = light_desk.started()
    light_desk.hear(light_desk.beat(holding=chunk))
    light_desk.take_back()
    light_desk.finish()

    light_desk.hear(light_desk.beat(holding=chunk))
    light_desk.take_back()

    assert light_desk.sessions._waiting_since == {}
    assert all(entry.held == {} for entry in light_desk.sessions._sessions.values())
