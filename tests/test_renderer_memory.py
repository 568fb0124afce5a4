"""The real renderer out of memory: nothing of the call stays, and the same process goes on with a smaller plan."""

import multiprocessing
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from fresh_run import HALVED, PLAN, message_of, pixels, real_bench
from storage.errors import ModelUnusable
from storage.spec import Numbers
from worker.diffusion import DiffusionRenderer
from worker_bench import Bench

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),
]
SAID = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"


@pytest.fixture(scope="module")
def model(tiny_models: Callable[[str], Path]) -> Path:
    return tiny_models("sd")


@pytest.fixture(scope="module")
def fresh(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The pixels of the halved plan, from a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(pixels, tmp_path_factory.mktemp("fresh"), model).result()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return real_bench(tmp_path)


class SmallCard:
    """A method that gets a tensor first, and has no memory for more than `limit` rows of it."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str, *, limit: int) -> None:
        self.seen: list[weakref.ref[torch.Tensor]] = []  # what the failed call held
        plain = getattr(owner, name)

        def short(part: Any, first: Any = None, *given: Any, **more: Any) -> Any:
            tensor = more["input_ids"] if first is None else first
            if tensor.shape[0] > limit:
                made = torch.ones(4)
                self.seen += [weakref.ref(made), weakref.ref(tensor)]
                raise torch.OutOfMemoryError(SAID)
            return plain(part, *([] if first is None else [first]), *given, **more)

        patch.setattr(owner, name, short)

    @property
    def alive(self) -> list[torch.Tensor]:
        return [tensor for each in self.seen if (tensor := each()) is not None]


@pytest.mark.parametrize(
    ("owner", "name", "limit"),
    [
        pytest.param(UNet2DConditionModel, "forward", 4, id="in a step"),
        pytest.param(AutoencoderKL, "decode", 2, id="in the decoder"),
        pytest.param(CLIPTextModel, "forward", 2, id="in the text encoder"),
    ],
)
def test_the_process_goes_on_with_a_smaller_plan_and_draws_what_a_fresh_one_draws(
    bench: Bench, model: Path, fresh: list[str], monkeypatch: pytest.MonkeyPatch, owner: type, name: str, limit: int
) -> None:
    previews = {} if owner is AutoencoderKL else {"previews": {"every": 1}}  # fitting their map decodes four samples
    message = message_of(bench, model, plan=PLAN, **previews)
    card = SmallCard(monkeypatch, owner, name, limit=limit)

    failed = bench.run(message)
    left = card.alive
    made = bench.run(message.model_copy(update={"plan": HALVED, "attempt": 2}))

    assert failed.fault is not None
    assert failed.fault.reason == "out_of_memory"
    assert "total capacity of 8.00 GiB" in failed.fault.detail
    assert "GiB free" in failed.fault.detail
    assert list(Numbers.from_json(failed.fault.ranges)) == [0, 1, 2, 3]
    assert card.seen
    assert left == []
    assert [image.pixel_sha256 for image in made.images] == fresh


def test_a_checkpoint_that_does_not_fit_is_no_unusable_model(
    bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = message_of(bench, model, plan=PLAN)

    def short(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(StableDiffusionPipeline, "from_pretrained", short)

    manifest = bench.run(message)

    assert manifest.fault is not None
    assert (manifest.fault.reason, manifest.fatal) == ("out_of_memory", None)
    assert bench.renderer.resident() == []


@pytest.mark.parametrize("said", ["CUDA error: an illegal memory access", "CUDA error: unspecified launch failure"])
def test_a_device_that_breaks_while_a_model_is_loaded_is_no_unusable_model(
    bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    message = message_of(bench, model, plan=PLAN)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(StableDiffusionPipeline, "from_pretrained", broken)

    manifest = bench.run(message)

    assert manifest.fault is not None
    assert (manifest.fault.reason, manifest.fatal) == ("device_error", None)


def test_a_checkpoint_that_is_broken_still_is_an_unusable_model(
    bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = message_of(bench, model, plan=PLAN)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("size mismatch for conv_in.weight")

    monkeypatch.setattr(StableDiffusionPipeline, "from_pretrained", broken)

    assert ModelUnusable.text.format(str(model), "RuntimeError: size mismatch") in str(bench.run(message).fatal)


def test_other_models_leave_before_a_plan_counts_as_too_large(
    tmp_path: Path, model: Path, tiny_models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = real_bench(tmp_path)
    assert isinstance(bench.renderer, DiffusionRenderer)
    bench.run(message_of(bench, tiny_models("sdxl"), plan=PLAN))
    message = message_of(bench, model, plan=PLAN)
    plain = UNet2DConditionModel.forward

    def crowded(*given: Any, **more: Any) -> Any:
        if len(bench.renderer.resident()) > 1:
            raise torch.OutOfMemoryError(SAID)
        return plain(*given, **more)

    monkeypatch.setattr(UNet2DConditionModel, "forward", crowded)

    manifest = bench.run(message.model_copy(update={"attempt": 2}))

    assert (len(manifest.images), manifest.fault) == (6, None)
    assert bench.renderer.resident() == [message.models[next(iter(message.models))].digest]


def test_an_adapter_s_lack_of_memory_is_no_misfit(
    bench: Bench, model: Path, tiny_models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = tiny_models("lora")
    message = bench.freeze(
        model=str(model), steps=2, width=32, height=32, loras=[{"model": str(lora)}]
    ).model_copy(update={"plan": PLAN})  # fmt: skip

    def short(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError(SAID)

    with monkeypatch.context() as patch:
        patch.setattr(StableDiffusionPipeline, "load_lora_weights", short)
        failed = bench.run(message)
    made = bench.run(message.model_copy(update={"attempt": 2}))

    assert failed.fault is not None
    assert (failed.fault.reason, failed.fatal) == ("out_of_memory", None)
    assert len(made.images) == 6
