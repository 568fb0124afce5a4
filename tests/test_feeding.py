"""Who gets what, with real SQL and a real broker: classes, plans that fit, links, drains, rests, budgets."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from desk import MODEL, DispatcherDesk
from dispatcher.service.broker import Broker
from feeding import first_of, of_job, record, resolved
from storage.sql import Database, chunks, jobs, workers
from storage.states import ChunkState, JobState, Priority, Reuse, Wish
from storage.wire.celery_app import configuration
from storage.wire.keys import token_key
from storage.wire.messages import ChunkMessage

SIZE = (64, 64)


@pytest.fixture
def desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url)


def test_a_broker_serves_the_urgent_class_first_whatever_came_first(broker_url: str) -> None:
    broker = Broker(broker_url)
    for priority in (Priority.BACKGROUND, Priority.NORMAL, Priority.INTERACTIVE):
        message = ChunkMessage(kind="resolve", job=priority, chunk=1, attempt=1, spec_hash="x")
        broker.send(message, node="n", boot="b", label="x", priority=priority)

    came: list[str] = []
    options = configuration("worker")["broker_transport_options"]
    with Connection(broker_url, transport_options=options) as connection:
        queue = Queue("render.n.b", Exchange(""), routing_key="render.n.b")
        with connection.Consumer([queue], accept=["json"], prefetch_count=1) as consumer:
            consumer.register_callback(lambda body, message: (came.append(body[1]["message"]["job"]), message.ack()))
            while len(came) < 3:
                connection.drain_events(timeout=10)

    assert came == ["interactive", "normal", "background"]


def test_an_interactive_job_gets_a_place_ahead_of_what_waits(desk: DispatcherDesk) -> None:
    slow = resolved(desk)
    desk.feed()
    quick = resolved(desk, priority=Priority.INTERACTIVE)

    desk.feed(desk.beat(holding=desk.chunks()[0]))

    assert len(of_job(desk, slow)) == 2
    assert len(of_job(desk, quick)) == 1
    assert desk.redis.llen("render.n1.b") == 1
    assert desk.feed(desk.beat(holding=of_job(desk, slow)[0])) == 0


def test_what_waits_makes_way_where_an_interactive_jobs_models_are_read(desk: DispatcherDesk) -> None:
    slow = resolved(desk)
    desk.feed()
    runs, waits = desk.chunks()
    desk.redis.delete(token_key(runs.job, runs.number, runs.attempt))
    quick = desk.submit()
    with desk.database.write() as connection:
        jobs.change(connection, quick, priority=Priority.INTERACTIVE)

    desk.feed(desk.beat(holding=runs))

    assert [chunk.number for chunk in of_job(desk, slow)] == [runs.number]
    assert [chunk.number for chunk in of_job(desk, slow, ChunkState.READY)] == [waits.number]
    assert desk.feed(desk.beat(holding=runs)) == 0

    (resolve,) = of_job(desk, quick)
    record(desk, resolve)
    desk.feed(desk.beat())

    assert of_job(desk, quick)[0].kind == "render"
    assert of_job(desk, slow)[0].number == runs.number


def test_a_jobs_turn_is_noted_when_it_gets_a_device(desk: DispatcherDesk) -> None:
    before = time.time()

    job_id, _ = desk.started()

    assert (desk.job(job_id).issued_at or 0) >= before


def test_background_work_that_waited_long_is_sent_as_normal(desk: DispatcherDesk) -> None:
    long_ago = time.time() - desk.feeder._ageing_s
    for _ in range(5):
        job_id = resolved(desk, priority=Priority.BACKGROUND)
        with desk.database.write() as connection:
            jobs.change(connection, job_id, created_at=long_ago)

    desk.feed()

    lengths = [desk.redis.llen(f"render.n1.b\x06\x16{step}") for step in (3, 6)]
    assert lengths[0] == 3
    assert sum(lengths) == len(desk.chunks()) <= 4


@pytest.mark.parametrize("wish", ["drain", "stop"])
def test_a_drained_worker_gets_nothing(desk: DispatcherDesk, wish: workers.WorkerWish) -> None:
    resolved(desk)
    with desk.database.write() as connection:
        workers.wish_worker(connection, "n1", wish, 1.0)

    assert desk.feed(desk.beat("n1")) == 0
    assert desk.feed(desk.beat("n1"), desk.beat("n2")) == 2
    assert {chunk.node for chunk in desk.chunks()} == {"n2"}

    with desk.database.write() as connection:
        workers.wish_worker(connection, "n1", None, 1.0)
    assert desk.feed(desk.beat("n1")) == 2


def test_a_worker_rests_from_a_model_that_it_kept_failing_with(desk: DispatcherDesk) -> None:
    resolved(desk)
    with desk.database.write() as connection:
        ends = [workers.note_failure(connection, "n1", MODEL.digest, time.time(), 1.0) for _ in range(3)]

    assert ends[:2] == [None, None]
    assert desk.feed(desk.beat("n1")) == 0
    assert desk.feed(desk.beat("n1"), desk.beat("n2")) == 2

    with desk.database.write() as connection:
        workers.note_success(connection, "n1", MODEL.digest)
    assert desk.feed(desk.beat("n1")) == 2


def test_a_job_with_two_models_goes_on_with_the_one_that_the_worker_does_not_rest_from(desk: DispatcherDesk) -> None:
    (desk.folder / "one").mkdir()
    job_id = desk.submit(axes={"model": ["./m", "./one"], "seed": {"count": 4}})
    with desk.database.write() as connection:
        row = jobs.get(connection, job_id)
        names = list(desk.feeder._spec(row).spec.models)
        models = {name: {**MODEL.model_dump(), "digest": name} for name in names}
        jobs.enter(connection, job_id, JobState.RESOLVING)
        jobs.enter(connection, job_id, JobState.RUNNING, models=models)
        for _ in range(3):
            workers.note_failure(connection, "n1", names[1], time.time(), 1.0)

    desk.feed(desk.beat("n1"))

    assert {chunk.model for chunk in desk.chunks()} == {names[0]}
    assert of_job(desk, job_id, ChunkState.READY) == []


def test_nothing_is_issued_past_a_deadline_or_a_budget(desk: DispatcherDesk) -> None:
    late, spent, fine = resolved(desk), resolved(desk), resolved(desk)
    with desk.database.write() as connection:
        jobs.change(connection, late, deadline=time.time() - 1)
        jobs.change(connection, spent, max_device_seconds=10.0, device_seconds=10.0)
        jobs.change(connection, fine, deadline=time.time() + 600, max_device_seconds=10.0)

    desk.feed()

    assert {chunk.job for chunk in desk.chunks()} == {fine}


def test_what_is_under_way_counts_against_a_budget(desk: DispatcherDesk) -> None:
    job_id = resolved(desk)
    with desk.database.write() as connection:
        jobs.change(connection, job_id, max_device_seconds=10.0, seconds_per_image=2.0)

    desk.feed(desk.beat("n1"), desk.beat("n2"))

    assert [chunk.images for chunk in desk.chunks()] == [4, 4]


def test_nothing_of_a_job_is_issued_that_its_user_paused(desk: DispatcherDesk) -> None:
    job_id = resolved(desk)
    with desk.database.write() as connection:
        jobs.wish(connection, job_id, Wish.PAUSE)

    assert desk.feed() == 0


def test_images_that_exist_are_linked_and_not_issued(desk: DispatcherDesk) -> None:
    axes = {"prompt": ["a", "b"], "seed": {"count": 8}}
    first = resolved(desk, axes=axes)
    desk.finish()

    second = resolved(desk, axes=axes, reuse=Reuse.SAME_PLAN)
    sent = desk.feed()

    row = desk.job(second)
    assert sent == 0
    assert (row.state, row.done, row.linked) == (JobState.DONE, 16, 16)
    assert {image.linked_job for image in desk.images(second).values()} == {first}


def test_only_what_does_not_exist_becomes_a_chunk(desk: DispatcherDesk) -> None:
    resolved(desk, axes={"prompt": ["a"], "seed": {"count": 8}})
    desk.finish()

    grown = resolved(desk, axes={"prompt": ["a", "b"], "seed": {"count": 8}}, reuse=Reuse.SAME_PLAN)
    desk.finish()

    row = desk.job(grown)
    assert (row.state, row.done, row.linked) == (JobState.DONE, 16, 8)


def test_a_job_of_which_all_exists_is_linked_in_few_looks(
    desk: DispatcherDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = {"prompt": ["a"], "seed": {"count": 512}}
    resolved(desk, axes=axes)
    desk.finish(limit=500)
    looks: list[int] = []
    real: Callable[..., Any] = desk.feeder._cutter.render
    monkeypatch.setattr(desk.feeder._cutter, "render", lambda *a, **k: (looks.append(1), real(*a, **k))[1])

    again = resolved(desk, axes=axes, reuse=Reuse.SAME_PLAN)
    desk.feed()

    assert desk.job(again).linked == 512
    assert len(looks) < 10


def test_a_chunk_that_was_suspected_is_rendered_one_image_at_a_time(desk: DispatcherDesk) -> None:
    job_id, chunk = first_of(desk, plan={"batch": 8})
    with desk.database.write() as connection:
        chunks.offer_again(connection, chunk, why="a test", now=1.0, blame=True)

    desk.redis.flushdb()
    desk.feed(desk.beat("n1"), desk.beat("n2"))

    (again,) = of_job(desk, job_id)
    assert again.node == "n2"
    assert b'"alone"' in b"".join(_bodies(desk, "render.n2.b\x06\x163"))


def _bodies(desk: DispatcherDesk, queue: str) -> list[bytes]:
    import base64
    import json

    raw: list[Any] = desk.redis.lrange(queue, 0, -1)  # type: ignore[assignment]
    bodies = [base64.b64decode(json.loads(text)["body"]) for text in raw]
    return [body.replace(b'"alone": false', b"") for body in bodies]


def test_a_token_is_withdrawn_once(desk: DispatcherDesk) -> None:
    _, chunk = first_of(desk, plan={"batch": 8})

    taken = [desk.broker.withdraw(chunk.job, chunk.number, chunk.attempt) for _ in range(2)]

    assert taken == [True, False]


def test_quarantined_devices_are_read_with_their_reasons(desk: DispatcherDesk) -> None:
    desk.redis.set("seedfarm:quarantine:n1", '{"reason": "CUDA error 700"}')
    desk.redis.set("seedfarm:quarantine:n2", b"\xff")

    assert desk.broker.quarantined() == {"n1": "CUDA error 700", "n2": "its device broke again and again"}


def test_the_age_of_a_heartbeat_is_told_by_what_its_key_has_left_to_live(desk: DispatcherDesk) -> None:
    from dispatcher.service.broker import BEAT_LIVES_S
    from storage.wire.keys import worker_key
    from worker.child.link import HEARTBEAT_TTL_S

    beat = desk.beat()
    desk.redis.set(worker_key("n1"), beat.model_dump_json(), ex=BEAT_LIVES_S - 50)

    ages = desk.broker.ages([beat])

    assert BEAT_LIVES_S == HEARTBEAT_TTL_S
    assert 49 <= ages["n1"] <= 55
