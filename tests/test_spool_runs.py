"""Runs beside a store that is away, slow, silent or full: nothing that was made is lost, and nothing is claimed."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moody_store import ALWAYS, MoodyStore
from storage.spec import Numbers
from storage.wire.messages import ChunkMessage, Manifest
from worker.runs import Run
from worker_bench import Bench
from worker_desk import fake_model, wait_for


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    fake_model(tmp_path)
    bench = Bench(tmp_path)
    yield bench
    bench.store.away = 0
    bench.disk.close()


def away_for_images(bench: Bench) -> ChunkMessage:
    message = bench.freeze()
    bench.store.away = ALWAYS
    return message


def sent(store: MoodyStore) -> list[Manifest]:
    found = [info.key for info in store.list("jobs/job/") if info.key.endswith("manifest.json")]
    return [Manifest.model_validate_json(store.get(key)) for key in found]


def whole(store: MoodyStore, manifest: Manifest) -> bool:
    return all(store.head(image.key) is not None for image in manifest.images)


def sender(bench: Bench) -> list[str]:
    """Start the thread that sends; the list grows by the key of each manifest."""
    heard: list[str] = []
    bench.spool.start(heard.append)
    return heard


def test_a_run_ends_while_the_store_is_away_and_is_sent_when_it_is_back(bench: Bench) -> None:
    message = away_for_images(bench)
    heard = sender(bench)

    assert Run(message, bench.tools).execute() is None
    assert [(name.job, name.chunk, name.attempt) for name in bench.level.spooled] == [("job", 1, 1)]
    assert bench.level.holding is None
    assert sent(bench.store) == []
    bench.store.away = 0
    wait_for(lambda: heard, what="a record")

    (manifest,) = sent(bench.store)
    assert ([image.number for image in manifest.images], manifest.untried) == ([0, 1, 2, 3, 4, 5], [])
    assert whole(bench.store, manifest)
    assert bench.store.stored[-1] == heard[0]
    wait_for(lambda: not bench.level.spooled and bench.level.trouble is None, what="a quiet level")
    assert bench.disk.held == 0


def test_people_are_told_what_waits(bench: Bench) -> None:
    Run(away_for_images(bench), bench.tools).execute()

    assert bench.level.trouble is not None
    assert f"object store {bench.store.address} is away, 0.0 MB wait on this disk" in bench.level.trouble


def test_after_a_short_wait_nobody_waits_for_a_store_that_is_away(bench: Bench) -> None:
    message = bench.freeze()
    asked = Counter[str]()
    bench.store.refuses = lambda key: asked.update([key]) is None

    Run(message, bench.tools).execute()

    insisted = [key for key, times in asked.items() if times > 1]
    assert 1 <= len(insisted) <= 2, "those that were on their way, one an upload thread"


def test_the_waiting_stands_in_the_manifest(bench: Bench) -> None:
    message = away_for_images(bench)
    heard = sender(bench)

    Run(message, bench.tools).execute()
    bench.store.away = 0
    wait_for(lambda: heard, what="a record")

    assert sent(bench.store)[0].seconds["wait"] > 0


def test_a_store_that_hangs_is_left_behind(bench: Bench) -> None:
    message = bench.freeze()
    silent = bench.store.silent = threading.Event()

    assert Run(message, bench.tools).execute() is None
    assert [name.chunk for name in bench.level.spooled] == [1]
    bench.store.silent = None
    silent.set()
    heard = sender(bench)
    wait_for(lambda: heard, what="a record")
    assert whole(bench.store, sent(bench.store)[0])


def test_a_store_whose_answers_are_lost_gets_everything_once_more(bench: Bench) -> None:
    message = bench.freeze()
    bench.store.deaf = lambda key: key not in bench.store.stored[:-1]

    heard = sender(bench)
    key = Run(message, bench.tools).execute()
    if key is None:
        wait_for(lambda: heard, what="a record")

    (manifest,) = sent(bench.store)
    assert len(manifest.images) == 6
    assert whole(bench.store, manifest)


def test_a_store_that_goes_between_the_images_and_their_manifest(bench: Bench) -> None:
    message = bench.freeze()
    bench.store.refuses = lambda key: key.endswith("manifest.json")

    assert Run(message, bench.tools).execute() is None
    assert [file.name for file in bench.disk.folder.glob("*/*")] == ["manifest.json"]
    bench.store.refuses = lambda _: False
    heard = sender(bench)
    wait_for(lambda: heard, what="a record")
    assert whole(bench.store, sent(bench.store)[0])


def test_a_store_that_goes_in_the_midst_keeps_what_it_has(bench: Bench) -> None:
    message = bench.freeze()
    bench.store.refuses = lambda key: key.endswith(("4.png", "5.png"))

    assert Run(message, bench.tools).execute() is None
    bench.store.refuses = lambda _: False
    heard = sender(bench)
    wait_for(lambda: heard, what="a record")

    (manifest,) = sent(bench.store)
    assert len(manifest.images) == 6
    assert whole(bench.store, manifest)
    assert bench.store.stored[-1].endswith("manifest.json")


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(lambda bench: bench.level.stopping.set(), id="the node ends"),
        pytest.param(lambda bench: setattr(bench.level, "stop_jobs", frozenset({"job"})), id="the job is paused"),
    ],
)
def test_a_stop_while_the_store_is_away_spools_what_was_made(bench: Bench, stop: Callable[[Bench], None]) -> None:
    message = away_for_images(bench)
    plain = bench.renderer.render

    def render(*given: object, **more: object) -> object:
        result = plain(*given, **more)  # type: ignore[arg-type]
        stop(bench)
        return result

    bench.renderer.render = render  # type: ignore[assignment]

    Run(message, bench.tools).execute()

    assert [name.chunk for name in bench.level.spooled] == [1]
    bench.store.away = 0
    heard = sender(bench)
    wait_for(lambda: heard, what="a record")
    (manifest,) = sent(bench.store)
    assert [image.number for image in manifest.images] == [0, 1, 2, 3]
    assert list(Numbers.from_json(manifest.untried)) == [4, 5]
    assert whole(bench.store, manifest)


def test_a_stop_before_the_spec_could_be_read_says_that_nothing_was_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = bench.freeze()
    reading = threading.Event()
    never = threading.Event()

    def get(key: str) -> bytes:
        reading.set()
        never.wait()
        return b""

    monkeypatch.setattr(bench.store, "get", get)
    threading.Thread(target=lambda: (reading.wait(10), bench.level.stopping.set())).start()

    key = Run(message, bench.tools).execute()
    never.set()
    monkeypatch.undo()

    assert key is not None
    manifest = Manifest.model_validate_json(bench.store.get(key))
    assert (manifest.images, len(Numbers.from_json(manifest.untried))) == ([], 6)


def test_a_run_waits_for_a_full_spool_and_says_so(tmp_path: Path) -> None:
    fake_model(tmp_path)
    bench = Bench(tmp_path, spool_bytes=2500)  # one picture
    message = away_for_images(bench)
    keys: list[str | None] = []
    run = threading.Thread(target=lambda: keys.append(Run(message, bench.tools).execute()), daemon=True)

    run.start()
    wait_for(lambda: "no room for more" in (bench.level.trouble or ""), what="trouble")
    assert run.is_alive()
    assert 0 < bench.disk.held <= 2500
    bench.store.away = 0
    run.join(30)

    assert not run.is_alive()
    heard = sender(bench)
    wait_for(lambda: keys[0] or heard, what="a manifest")
    (manifest,) = sent(bench.store)
    assert len(manifest.images) == 6
    assert whole(bench.store, manifest)


def test_a_stop_beside_a_full_spool_keeps_what_lies_there(tmp_path: Path) -> None:
    fake_model(tmp_path)
    bench = Bench(tmp_path, spool_bytes=2500)
    message = away_for_images(bench)
    run = threading.Thread(target=Run(message, bench.tools).execute, daemon=True)

    run.start()
    wait_for(lambda: "no room for more" in (bench.level.trouble or ""), what="trouble")
    bench.level.stopping.set()
    run.join(30)

    assert [name.chunk for name in bench.level.spooled] == [1]
    bench.store.away = 0
    heard = sender(bench)
    wait_for(lambda: heard, what="a record")
    (manifest,) = sent(bench.store)
    assert 0 < len(manifest.images) < 6
    assert len(manifest.images) + len(Numbers.from_json(manifest.untried)) == 6
    assert whole(bench.store, manifest)


def test_a_run_that_is_given_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_model(tmp_path)
    bench = Bench(tmp_path)
    message = away_for_images(bench)

    def broken(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("worker.runs.run.Manifest", broken)

    with pytest.raises(TypeError):  # a bug of ours
        Run(message, bench.tools).execute()

    assert bench.disk.held == 0
    assert bench.level.spooled == ()


def test_the_next_process_sends_what_the_last_one_left(bench: Bench) -> None:
    Run(away_for_images(bench), bench.tools).execute()
    bench.disk.close()
    bench.store.away = 0

    again = Bench(bench.folder)
    assert [name.chunk for name in again.level.spooled] == [1]
    heard = sender(again)
    wait_for(lambda: heard, what="a record")

    assert whole(again.store, sent(again.store)[0])
    again.disk.close()


def test_previews_are_left_out_while_the_store_is_away(bench: Bench) -> None:
    message = bench.freeze(steps=4, previews={"every": 2})
    bench.store.away = ALWAYS

    Run(message, bench.tools).execute()
    bench.store.away = 0
    heard = sender(bench)
    wait_for(lambda: heard, what="a record")

    assert {image.preview for image in sent(bench.store)[0].images} == {None}
