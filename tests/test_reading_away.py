"""A worker that cannot read what a chunk needs waits, and says what it waits for."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.valkey import ValkeyServer
from storage.errors import StoreAway
from worker.child.level import Level
from worker.runs.patience import Patience
from worker_desk import Desk, fake_model, wait_for, worker

NODE = "test-cpu"


@pytest.fixture
def desk(valkey: ValkeyServer, tmp_path: Path) -> Iterator[Desk]:
    if not valkey.running:  # an earlier test killed it
        valkey.start()
    with Desk(valkey.database(13), tmp_path) as desk:
        desk.redis.flushdb()
        yield desk


def test_a_heartbeat_says_what_cannot_be_read_until_it_can(desk: Desk) -> None:
    fake_model(desk.home)
    desk.freeze(model="model", prompt="a hare", steps=1)

    with worker(desk, FARM_TIME_SCALE="0.1"):
        models = desk.resolve(NODE)
        spec = desk.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 4}})
        desk.store.root.rename(desk.home / "elsewhere")
        desk.send(desk.message(range(4), models=models), node=NODE)
        said = wait_for(lambda: desk.beat(NODE).trouble, what="trouble")
        (desk.home / "elsewhere").rename(desk.store.root)
        manifest = desk.manifest()
        wait_for(lambda: desk.beat(NODE).trouble is None, what="the end of the trouble")

    assert f"waits for jobs/{desk.job}/spec-{spec.hash[:16]}.json: object store" in str(said)
    assert "does not answer" in str(said)
    assert len(manifest.images) == 4


def test_it_is_said_while_the_store_fails_and_no_longer() -> None:
    level, heard = Level(), list[str | None]()
    failures = itertools.count()

    def ask() -> str:
        heard.append(level.lacks)
        if next(failures) < 2:
            raise StoreAway("s3://x", "two\nlines " + "and more " * 99)
        return "an answer"

    answer = Patience(lambda: False, 0.01, tell=level.set_lacks).insist(ask, what="a spec")

    assert answer == "an answer"
    assert heard[0] is None
    assert heard[1] == heard[2]
    assert str(heard[1]).startswith("waits for a spec: object store s3://x does not answer")
    assert "\n" not in str(heard[1])
    assert len(str(heard[1])) == 300
    assert level.lacks is None


def test_it_is_said_that_a_store_is_silent() -> None:
    level = Level()

    def ask() -> bool:  # returns once it was said
        return wait_for(lambda: "the object store is silent" in (level.lacks or ""), what="a word")

    Patience(lambda: False, 0.01, tell=level.set_lacks).insist(ask, what="a spec")

    assert level.lacks is None


def test_a_run_that_was_told_to_stop_lacks_nothing_any_more() -> None:
    level = Level()

    def ask() -> None:
        raise StoreAway("s3://x", "a test")

    with pytest.raises(StoreAway):
        Patience(lambda: True, 0.01, tell=level.set_lacks).insist(ask, what="a spec")

    assert level.lacks is None
