"""A worker whose store goes away: it ends in time with all that it made, and its next life brings that to the store."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.wire import keys
from worker_desk import Desk, slow_job, start_slow_chunk, wait_for, worker

NODE = "test-cpu"


@pytest.fixture
def desk(broker_url: str, tmp_path: Path) -> Iterator[Desk]:
    with Desk(broker_url, tmp_path) as desk:
        yield desk


def test_a_worker_that_is_ended_while_its_store_is_away_loses_nothing(desk: Desk) -> None:
    slow_job(desk)
    mark, hidden = desk.home / "store" / ".tmp", desk.home / "store" / ".away"
    spool = desk.home / "home" / "spool" / NODE

    with worker(desk) as process:
        start_slow_chunk(desk, NODE)
        mark.rename(hidden)  # as an unmounted volume
        wait_for(lambda: list(spool.glob("*/*.png")), what="a picture in the spool")
        trouble = wait_for(lambda: desk.beat(NODE).trouble, what="trouble")
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=15)
    waiting = list(spool.glob("*/manifest.json"))
    hidden.rename(mark)
    desk.redis.delete(keys.worker_key(NODE))
    with worker(desk):
        manifest = desk.manifest()
        wait_for(lambda: desk.redis.llen(keys.RECORD_QUEUE) == 2, what="a record")  # the first is that of the resolve
        wait_for(lambda: not desk.beat(NODE).spooled, what="an empty spool")

    assert (code, len(waiting)) == (0, 1)
    assert "is away" in trouble
    assert len(manifest.images) > 2
    assert len(manifest.images) + sum(len(range(*part)) for part in manifest.untried) == 100
    assert all(desk.store.head(image.key) for image in manifest.images)
    assert not list(spool.glob("*/*"))


def test_what_waits_is_named_in_the_first_beat_of_the_next_life(desk: Desk) -> None:
    slow_job(desk)
    mark, hidden = desk.home / "store" / ".tmp", desk.home / "store" / ".away"

    with worker(desk) as process:
        start_slow_chunk(desk, NODE)
        mark.rename(hidden)
        desk.order(NODE, stop_jobs=[desk.job])
        named = wait_for(lambda: desk.beat(NODE).spooled, what="a spooled run")
        child = desk.beat(NODE).child
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=15)
    with worker(desk):
        again = desk.beat(NODE, other_than=child)

    assert [(name.job, name.chunk, name.attempt) for name in named] == [(desk.job, 1, 1)]
    assert again.spooled == named
