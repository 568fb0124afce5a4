"""One run of a chunk, without processes or a broker: what it stores, and what it does when things go wrong."""

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from storage.errors import DiskFull
from storage.spec import canonical
from storage.wire import keys
from worker.child.level import Level
from worker.renderer import Recipe
from worker.runs import Run
from worker.runs.patience import Patience
from worker.runs.rendering.batches import Wanted, cut
from worker.runs.rendering.watching import MOST_FRAMES, BatchWatch
from worker_bench import Bench
from worker_desk import fake_model


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    fake_model(tmp_path)
    return Bench(tmp_path)


def test_two_runs_of_a_chunk_store_the_same_bytes_under_prefixes_of_their_own(bench: Bench) -> None:
    message = bench.freeze()

    first, second = bench.run(message), bench.run(message.model_copy(update={"attempt": 2}))

    assert [image.sha256 for image in first.images] == [image.sha256 for image in second.images]
    assert not {image.key for image in first.images} & {image.key for image in second.images}


def test_a_picture_does_not_depend_on_the_name_of_its_model(bench: Bench) -> None:
    fake_model(bench.folder, name="copy")

    first, second = bench.run(bench.freeze(model="model")), bench.run(bench.freeze(model="copy"))

    assert [image.sha256 for image in first.images] == [image.sha256 for image in second.images]


def test_previews_become_one_strip_an_image(bench: Bench) -> None:
    manifest = bench.run(bench.freeze(steps=6, previews={"every": 2}))

    assert manifest.images[0].preview is not None
    strip = Image.open(io.BytesIO(bench.store.get(manifest.images[0].preview)))
    assert strip.size == (3 * 8, 8)


def test_a_store_that_comes_back_costs_time_and_no_image(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.runs.patience.FIRST_S", 0.001)
    message = bench.freeze()
    bench.store.away = 7

    manifest = bench.run(message)

    assert len(manifest.images) == 6


def test_without_a_spool_a_store_that_stays_away_is_given_up_when_the_node_stops(tmp_path: Path) -> None:
    fake_model(tmp_path)
    bench = Bench(tmp_path, spool_bytes=0)
    message = bench.freeze()
    bench.store.away = 10**9
    threading.Thread(target=lambda: (bench.store.asked.wait(10), bench.tools.level.stopping.set())).start()

    assert Run(message, bench.tools).execute() is None
    assert bench.tools.level.holding is None


def test_a_spec_that_was_swapped_is_fatal(bench: Bench) -> None:
    message = bench.freeze()
    bench.store.put(keys.spec_key("job", bench.spec.hash), canonical({**bench.spec.to_json(), "name": "other"}))

    manifest = bench.run(message)

    assert manifest.fatal is not None
    assert "submit it again" in manifest.fatal
    assert manifest.untried == [[0, 6, 1]]


def test_a_spec_that_is_missing_is_fatal(bench: Bench) -> None:
    message = bench.freeze()
    bench.store.delete([keys.spec_key("job", bench.spec.hash)])

    assert "no object" in str(bench.run(message).fatal)


def test_a_chunk_that_was_stopped_before_it_began_is_all_untried(bench: Bench) -> None:
    message = bench.freeze()
    bench.tools.level.stop_jobs = frozenset({"job"})

    manifest = bench.run(message)

    assert (manifest.images, manifest.untried, manifest.fatal) == ([], [[0, 6, 1]], None)


def test_what_a_pipeline_raises_becomes_failed_images(bench: Bench) -> None:
    def broken(recipes: object, **_: object) -> list[Any]:
        raise KeyError("scheduler")

    message = bench.freeze()
    bench.renderer.render = broken  # type: ignore[method-assign]

    manifest = bench.run(message)

    assert {image.reason for image in manifest.failed} == {"error"}
    assert len(manifest.failed) == 6
    assert manifest.fault is None


def test_an_excluded_place_is_no_image(bench: Bench) -> None:
    message = bench.freeze(exclude=[{"seed": 3}])

    manifest = bench.run(message)

    assert [image.number for image in manifest.images] == [0, 1, 2, 4, 5]
    assert [image.number for image in manifest.failed] == [3]


def test_several_models_share_a_chunk(bench: Bench) -> None:
    fake_model(bench.folder, name="wide", width=128)
    message = bench.freeze(model=None, axes={"model": ["model", "wide"], "seed": {"count": 3}})

    manifest = bench.run(message)

    assert [image.width for image in manifest.images] == [64] * 3 + [128] * 3
    assert len(bench.renderer.resident()) == 2


kinds_in_a_row = st.tuples(st.sampled_from(["ddim", "euler"]), st.integers(1, 6))


@given(runs=st.lists(kinds_in_a_row, max_size=6), size=st.integers(1, 5))
def test_batches_hold_every_image_once_in_order_and_are_of_one_kind(runs: list[tuple[str, int]], size: int) -> None:
    kinds = [kind for kind, count in runs for _ in range(count)]
    wanted = [Wanted(number, ("model",), recipe_of(kind)) for number, kind in enumerate(kinds)]

    batches = list(cut(wanted, size=size))

    assert [image for batch in batches for image in batch.images] == wanted
    assert all(len(batch.recipes) == size for batch in batches)
    assert all(len({image.recipe["scheduler"]["class"] for image in batch.images}) == 1 for batch in batches)


def recipe_of(scheduler: str) -> Recipe:
    return {
        "mode": "text-to-image", "model": "m", "prompt": "p", "seed": 1, "steps": 2, "guidance_scale": 5.0,
        "width": 64, "height": 64, "scheduler": {"class": scheduler, "options": {}},
    }  # fmt: skip


def test_a_long_schedule_gives_no_more_frames_than_can_be_seen() -> None:
    watch = BatchWatch(Level(), job="job", steps=1000, slots=1, every=1)

    assert watch.preview_every is not None
    assert 1000 // watch.preview_every <= MOST_FRAMES


def test_patience_gives_one_try_even_when_it_has_ended() -> None:
    tries: list[int] = []

    def full() -> None:
        tries.append(1)
        raise DiskFull("x")

    with pytest.raises(DiskFull):
        Patience(lambda: True).insist(full, what="x")

    assert tries == [1]
