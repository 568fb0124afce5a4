"""What a run makes of a device, or a memory, that gives out: nothing has failed, and everybody knows why."""

import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from faulty_bench import AcceleratorError, OutOfMemoryError, made, misbehave, numbers, raising
from storage.wire.messages import Holding, Manifest, Ranges, device_key
from worker.faults import classify, let_go
from worker.runs import Run
from worker_bench import Bench
from worker_desk import PLAN, fake_model

SMALLER = PLAN.model_copy(update={"batch": 2})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    fake_model(tmp_path)
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory", id="torch"),
        pytest.param(MemoryError(), "out_of_memory", id="Python"),
        pytest.param(
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out_of_memory", id="torch on a CPU",
        ),
        pytest.param(AcceleratorError("CUDA error: out of memory"), "out_of_memory", id="memory by the driver"),
        pytest.param(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"), "out_of_memory", id="cuBLAS"),
        pytest.param(RuntimeError("CUDA error: device-side assert triggered"), "device_error", id="old torch"),
        pytest.param(AcceleratorError("an illegal memory access was encountered"), "device_error", id="new torch"),
        pytest.param(KeyError("scheduler"), "error", id="any other"),
    ],
)  # fmt: skip
def test_an_error_is_known_by_its_name_or_its_words(error: Exception, reason: str) -> None:
    assert classify(error)[0] == reason


def test_a_batch_that_does_not_fit_ends_the_run_and_fails_nothing(bench: Bench) -> None:
    misbehave(bench, oom_batch=2)
    message = bench.freeze()

    manifest = bench.run(message)

    assert manifest.fault is not None
    assert (manifest.fault.reason, numbers(manifest.fault.ranges)) == ("out_of_memory", [0, 1, 2, 3])
    assert "fake, which has none" in manifest.fault.detail
    assert (manifest.images, manifest.failed, numbers(manifest.untried)) == ([], [], [0, 1, 2, 3, 4, 5])
    assert manifest.device == device_key("fake", 0)


def test_the_same_worker_makes_the_images_by_a_smaller_plan(bench: Bench) -> None:
    misbehave(bench, oom_batch=2)
    message = bench.freeze()
    bench.run(message)

    manifest = bench.run(message.model_copy(update={"plan": SMALLER, "attempt": 2}))

    assert (made(manifest), manifest.fault) == ([0, 1, 2, 3, 4, 5], None)


def test_models_that_do_not_fit_are_the_plan_s_fault_too(bench: Bench) -> None:
    message = bench.freeze()
    raising(bench, "load", OutOfMemoryError("CUDA out of memory"))

    manifest = bench.run(message)

    assert manifest.fault is not None
    assert (manifest.fault.reason, numbers(manifest.fault.ranges)) == ("out_of_memory", [0, 1, 2, 3])


@pytest.mark.parametrize("method", ["load", "render"])
def test_models_that_stand_in_the_way_leave_before_a_plan_counts_as_too_large(bench: Bench, method: str) -> None:
    message = bench.freeze()
    asked: list[int] = []
    bench.renderer.recover = lambda: asked.append(1) is None  # type: ignore[method-assign]
    raising(bench, method, OutOfMemoryError("CUDA out of memory"), times=1)

    manifest = bench.run(message)

    assert (made(manifest), manifest.fault, len(asked)) == ([0, 1, 2, 3, 4, 5], None, 1)


def test_making_room_is_tried_once_a_batch(bench: Bench) -> None:
    message = bench.freeze()
    bench.renderer.recover = lambda: True  # type: ignore[method-assign]
    calls = raising(bench, "render", OutOfMemoryError("CUDA out of memory"))

    manifest = bench.run(message)

    assert manifest.fault is not None
    assert len(calls) == 2


def test_a_broken_device_ends_the_run_and_then_the_process(bench: Bench) -> None:
    misbehave(bench, device_error_seeds=[4])
    recovered = raising(bench, "recover", AssertionError("another call on a broken device"))
    run = Run(bench.freeze(), bench.tools)

    key = run.execute()

    assert key is not None
    manifest = Manifest.model_validate_json(bench.store.get(key))
    assert manifest.fault is not None
    assert (manifest.fault.reason, numbers(manifest.fault.ranges)) == ("device_error", [4, 5])
    assert (made(manifest), manifest.failed, numbers(manifest.untried)) == ([0, 1, 2, 3], [], [4, 5])
    assert run.device_lost
    assert recovered == []


def test_nothing_of_a_failed_call_stays_alive(bench: Bench) -> None:
    class Tensor:
        pass

    gone = threading.Event()

    def render(*_: Any, **__: Any) -> None:
        held = Tensor()
        weakref.finalize(held, gone.set)
        try:
            raise OutOfMemoryError("CUDA out of memory")
        except OutOfMemoryError as error:
            raise RuntimeError("CUDA out of memory, said otherwise") from error

    was_gone: list[bool] = []
    bench.renderer.render = render  # type: ignore[assignment]
    bench.renderer.recover = lambda: was_gone.append(gone.is_set()) is not None  # type: ignore[method-assign]

    bench.run(bench.freeze())

    assert was_gone == [True]


def test_an_error_that_somebody_keeps_keeps_nothing_else() -> None:
    class Tensor:
        pass

    held: list[weakref.ref[Tensor]] = []

    def call(cause: Exception | None) -> None:
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        if cause is None:
            try:
                call(OutOfMemoryError("CUDA out of memory"))
            except OutOfMemoryError as error:
                raise RuntimeError("said otherwise") from error
        else:
            raise cause

    with pytest.raises(RuntimeError) as caught:
        call(None)
    let_go(caught.value)

    assert [each() for each in held] == [None, None]


def test_suspects_are_rendered_one_a_call_with_the_same_bytes(bench: Bench) -> None:
    message = bench.freeze()
    together = bench.run(message)
    sizes: list[int] = []
    held: list[Ranges] = []
    plain = bench.renderer.render

    def watched(recipes: Any, **more: Any) -> Any:
        sizes.append(len(recipes))
        held.append(holding(bench).batch)
        return plain(recipes, **more)

    bench.renderer.render = watched  # type: ignore[method-assign]
    alone = bench.run(message.model_copy(update={"attempt": 2, "alone": True}))

    assert [image.sha256 for image in alone.images] == [image.sha256 for image in together.images]
    assert sizes == [4] * 6
    assert [numbers(ranges) for ranges in held] == [[number] for number in range(6)]


def holding(bench: Bench) -> Holding:
    assert bench.level.holding is not None
    return bench.level.holding
