"""How runs end: what only this host lacks, half a resolve, an order to stop, a picture that cannot be written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faulty_bench import AcceleratorError, OutOfMemoryError, made, misbehave, numbers, raising
from storage.errors import ModelMissing, OptionRefused, RefusedHere, StoreAway
from storage.spec import JobFile, canonical, freeze
from storage.spec.growth import extend
from storage.wire.keys import spec_key
from storage.wire.messages import ChunkMessage
from worker.renderer import StopRendering
from worker.runs import Run
from worker_bench import Bench
from worker_desk import PLAN, fake_model

SMALLER = PLAN.model_copy(update={"batch": 2})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    fake_model(tmp_path)
    return Bench(tmp_path)


def other_bytes(bench: Bench, message: ChunkMessage) -> ChunkMessage:
    misbehave(bench, width=128)
    return message


def no_model(bench: Bench, message: ChunkMessage) -> ChunkMessage:
    (bench.folder / "model" / "fake.json").unlink()
    return message


def another_device(bench: Bench, message: ChunkMessage) -> ChunkMessage:
    bench.renderer.name = "diffusers"
    return message.model_copy(update={"plan": PLAN.model_copy(update={"device_type": "cuda"})})


def lost_later(bench: Bench, message: ChunkMessage) -> ChunkMessage:
    raising(bench, "load", ModelMissing("model", "it left the disk"))
    return message


def refused_here(bench: Bench, message: ChunkMessage) -> ChunkMessage:
    raising(bench, "render", RefusedHere("callbacks", "fade", "not allowed on this worker"))
    return message


def refused(bench: Bench, message: ChunkMessage) -> ChunkMessage:
    raising(bench, "render", OptionRefused("eta", 2.0, "too much"))
    return message


@pytest.mark.parametrize(
    ("change", "here"),
    [
        pytest.param(other_bytes, True, id="other bytes"), pytest.param(no_model, True, id="no model"),
        pytest.param(lost_later, True, id="a model that goes"), pytest.param(another_device, True, id="another device"),
        pytest.param(refused, False, id="an option"), pytest.param(refused_here, True, id="an option of this host"),
    ],
)  # fmt: skip
def test_what_only_this_host_lacks_is_told_from_what_no_host_can_do(
    bench: Bench, change: Callable[[Bench, ChunkMessage], ChunkMessage], here: bool
) -> None:
    manifest = bench.run(change(bench, bench.freeze()))

    assert manifest.fatal is not None
    assert manifest.fatal_here is here
    assert len(numbers(manifest.untried)) == 6


def resolve(message: ChunkMessage) -> ChunkMessage:
    return message.model_copy(update={"kind": "resolve", "ranges": [], "models": {}, "plan": None})


@pytest.mark.parametrize(
    ("method", "error", "here"),
    [
        pytest.param("resolve", ModelMissing("model", "no such file"), True, id="missing"),
        pytest.param("check", OptionRefused("eta", 2.0, "too much"), False, id="refused"),
        pytest.param("check", RefusedHere("callbacks", "fade", "not allowed"), True, id="refused here"),
        pytest.param("check", OutOfMemoryError("CUDA out of memory"), True, id="memory"),
        pytest.param("check", KeyError("a bug"), True, id="a bug"),
    ],
)
def test_a_resolve_that_cannot_be_done_says_so(bench: Bench, method: str, error: Exception, here: bool) -> None:
    message = resolve(bench.freeze())
    raising(bench, method, error)

    manifest = bench.run(message)

    assert manifest.fatal is not None
    assert manifest.fatal_here is here


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(StopRendering(), id="stopped"),
        pytest.param(AcceleratorError("CUDA error"), id="device"),
    ],
)
def test_half_a_resolve_is_none(bench: Bench, error: Exception) -> None:
    message = resolve(bench.freeze())
    raising(bench, "check", error)
    run = Run(message, bench.tools)

    assert run.execute() is None
    assert run.device_lost is isinstance(error, AcceleratorError)
    assert list(bench.store.list("jobs/job/1.1-")) == []


def test_a_store_that_is_away_while_a_model_is_loaded_is_waited_for(bench: Bench) -> None:
    message = bench.freeze()
    calls = raising(bench, "load", StoreAway("s3://farm", "a test"), times=2)

    manifest = bench.run(message)

    assert made(manifest) == [0, 1, 2, 3, 4, 5]
    assert len(calls) >= 3


def test_a_stop_during_loading_leaves_all_untried(bench: Bench) -> None:
    message = bench.freeze()
    plain = bench.renderer.load

    def load(*given: Any, **more: Any) -> None:
        plain(*given, **more)
        bench.level.stop_jobs = frozenset({"job"})

    bench.renderer.load = load  # type: ignore[method-assign]
    rendered = raising(bench, "render", AssertionError("rendered after a stop"))

    manifest = bench.run(message)

    assert (manifest.images, len(numbers(manifest.untried)), rendered) == ([], 6, [])


def test_a_stop_between_two_batches_claims_what_is_stored_and_no_more(bench: Bench) -> None:
    message = bench.freeze(axes={"seed": {"count": 6}}, steps=3)
    plain = bench.renderer.render

    def render(*given: Any, **more: Any) -> Any:
        result = plain(*given, **more)
        bench.level.stop_all = True
        return result

    bench.renderer.render = render  # type: ignore[method-assign]

    manifest = bench.run(message)

    stored = [info.key for info in bench.store.list("jobs/job/1.1-") if info.key.endswith(".png")]
    assert made(manifest) == [0, 1, 2, 3]
    assert [image.key for image in manifest.images] == stored
    assert numbers(manifest.untried) == [4, 5]


def test_a_picture_that_cannot_be_encoded_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    message = bench.freeze()
    calls: list[int] = []

    def encode(*_: Any, **__: Any) -> bytes:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("encoder error")
        return b"png"

    monkeypatch.setattr("worker.runs.storing.encoding.encode", encode)

    manifest = bench.run(message)

    assert [(image.reason, image.detail) for image in manifest.failed] == [("error", "OSError: encoder error")]
    assert len(manifest.images) == 5


def test_ids_that_make_no_key_are_refused(bench: Bench) -> None:
    message = bench.freeze().model_copy(update={"job": "../../etc"})

    assert Run(message, bench.tools).execute() is None
    assert not bench.disk.folder.joinpath("etc").exists()


def test_what_an_extension_asks_and_the_model_refuses_costs_its_images_alone(bench: Bench) -> None:
    message = bench.freeze(axes={"scheduler": ["ddim"], "seed": {"count": 6}})
    wanted = freeze(
        JobFile.model_validate({
            "model": "model", "prompt": "a fox", "steps": 2,
            "axes": {"scheduler": ["ddim", "euler"], "seed": {"count": 6}},
        }), base=bench.folder, name="test", max_images=1000,
    )  # fmt: skip
    longer = extend(bench.spec, wanted, max_images=1000)
    bench.store.put(spec_key("job", longer.hash), canonical(longer.to_json()))
    plain = bench.renderer.load

    def choosy(recipe: Any, **more: Any) -> None:
        if recipe["scheduler"]["class"] == "EulerDiscreteScheduler":
            raise OptionRefused("scheduler", "euler", "not here")
        plain(recipe, **more)

    bench.renderer.load = choosy  # type: ignore[method-assign]

    manifest = bench.run(message.model_copy(update={"spec_hash": longer.hash, "ranges": [[0, 12, 1]]}))

    assert manifest.fatal is None
    assert made(manifest) == list(range(6))
    assert [(image.number, image.reason) for image in manifest.failed] == [(n, "refused") for n in range(6, 12)]
