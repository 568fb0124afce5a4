"""From jobs to chunks in workers' queues."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from desk import MODEL, DispatcherDesk
from dispatcher.service.feeding.board import read_board
from storage.spec import Numbers
from storage.sql import Database, chunks
from storage.sql.chunks import ChunkRow
from storage.states import JobState
from storage.wire.keys import spec_key
from storage.wire.messages import ChunkMessage


@pytest.fixture
def desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url)


def test_a_job_is_resolved_before_anything_is_rendered(desk: DispatcherDesk) -> None:
    job_id = desk.submit()

    sent = desk.feed(desk.beat("n1"), desk.beat("n2"))

    assert sent == 1
    assert (desk.issued().kind, desk.job(job_id).state) == ("resolve", JobState.RESOLVING)


def test_a_worker_never_has_more_than_two_chunks(desk: DispatcherDesk) -> None:
    desk.started()
    desk.submit()

    desk.feed()

    assert len(desk.chunks()) == 2
    assert desk.feed() == 0


def test_a_jobs_chunks_hold_every_image_once(desk: DispatcherDesk) -> None:
    axes = {"prompt": ["a", "b", "c"], "seed": {"count": 7}, "width": [64, 128], "scheduler": ["ddim", "euler"]}
    job_id = desk.submit(axes=axes, exclude=[{"prompt": "a", "width": 64}, {"seed": [1, 5], "scheduler": "ddim"}])

    desk.finish(limit=100)

    row = desk.job(job_id)
    assert (row.state, row.done) == (JobState.DONE, row.images)
    assert len(desk.images(job_id)) == row.images


def test_a_plan_is_frozen_once_a_size(desk: DispatcherDesk) -> None:
    job_id = desk.submit(axes={"seed": {"count": 4}, "width": [64, 128]}, plan={})

    desk.finish()

    plans = {(row.width, row.plan["batch"]) for row in desk.images(job_id).values()}
    assert len({width for width, _ in plans}) == len(plans) == 2


def sent(desk: DispatcherDesk, chunk: ChunkRow) -> ChunkMessage:
    """What lies in the queue of n1 for a chunk."""
    raw = desk.redis.lrange("render.n1.b\x06\x163", 0, -1)  # kombu's name of a queue's priority 3
    bodies = [json.loads(base64.b64decode(json.loads(text)["body"])) for text in raw]
    messages = [ChunkMessage.model_validate(body[1]["message"]) for body in bodies]
    return next(
        message for message in messages
        if (message.job, message.kind, message.chunk) == (chunk.job, "render", chunk.number)
    )  # fmt: skip


def test_what_is_sent_can_be_read_by_the_worker(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()

    mine = sent(desk, chunk)

    assert (mine.job, mine.attempt, mine.models["./m"]) == (job_id, 1, MODEL)
    assert Numbers.from_json(mine.ranges) == chunk.numbers


def test_a_chunk_takes_along_its_checkpoint_refiners_and_parts(desk: DispatcherDesk) -> None:
    for name in ("one", "two", "fine", "ft", "ink"):
        (desk.folder / name).mkdir()
    axes = {"model": ["./one", "./two"], "loras": [[], ["./ink"]], "refiner": [None, "./fine"]}

    _, chunk = desk.started(axes=axes, exclude=[], refiner_start=0.8, vae="./ft")

    assert set(sent(desk, chunk).models) == {"./one", "./fine", "vae:./ft", "lora:./ink"}


def test_a_chunk_that_was_lost_takes_the_same_models_along(desk: DispatcherDesk) -> None:
    _, chunk = desk.started(vae="./m", plan={"batch": 16})
    before = sent(desk, chunk)
    with desk.database.write() as connection:
        chunks.offer_again(connection, chunk, why="a test", now=1.0)
    desk.redis.delete("render.n1.b\x06\x163")

    desk.feed()

    assert sent(desk, chunk).models == before.models
    assert sent(desk, chunk).attempt == 2


@pytest.mark.parametrize(
    ("entries", "known"),
    [
        pytest.param({"vae": "./m"}, True, id="one checkpoint and a part"),
        pytest.param({"axes": {"model": ["./m", "owner/other"]}}, False, id="two checkpoints"),
    ],
)
def test_a_job_of_one_checkpoint_waits_for_a_warm_worker(
    desk: DispatcherDesk, entries: dict[str, Any], known: bool
) -> None:
    desk.submit(**entries)
    desk.feed()
    desk.recorder.record(desk.put(desk.manifest(desk.issued())))

    with desk.database.read() as connection:
        (want,) = read_board(connection, [desk.beat()], load=desk.feeder._spec, ageing_s=1800, now=time.time()).wants

    assert want.model == (MODEL.digest if known else None)


def test_a_long_run_of_empty_places_is_walked_in_short_steps(desk: DispatcherDesk) -> None:
    job_id = desk.submit(axes={"prompt": ["a", "b"], "seed": {"count": 25_000}}, exclude=[{"prompt": "a"}])
    desk.feed()
    desk.recorder.record(desk.put(desk.manifest(desk.issued())))

    desk.feed()

    assert desk.job(job_id).cursor > 25_000
    assert min(next(iter(chunk.numbers)) for chunk in desk.chunks()) == 25_000


def test_a_job_whose_spec_is_gone_fails_alone(desk: DispatcherDesk) -> None:
    lost, _ = desk.started()
    desk.store.delete([spec_key(lost, desk.job(lost).spec_hash)])
    desk.feeder._specs._jobs.clear()
    fine = desk.submit(axes={"seed": {"count": 3}})

    desk.feed(desk.beat("n2"))
    desk.feed(desk.beat("n3"))

    assert desk.job(lost).state == JobState.FAILED
    assert "no object" in (desk.job(lost).reason or "")
    assert desk.job(fine).state == JobState.RESOLVING


def test_a_broken_spec_fails_its_job(desk: DispatcherDesk) -> None:
    job_id, _ = desk.started()
    desk.store.put(spec_key(job_id, desk.job(job_id).spec_hash), b"{")
    desk.feeder._specs._jobs.clear()

    desk.feed(desk.beat("n2"))

    assert desk.job(job_id).state == JobState.FAILED
