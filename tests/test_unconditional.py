"""Models that read no prompt: our loop is diffusers', with an ear for every step."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMPipeline
from torch import Tensor

from scheduler_bench import SIDE, load
from storage.spec.schedulers import SCHEDULERS
from worker.diffusion.calling.sampling import generators, new_scheduler
from worker.diffusion.calling.unconditional import sample

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),
]
STEPS, SEEDS = 4, (3, 2**40, 9)
DIFFUSION = [name for name, kind in SCHEDULERS.items() if kind.models == "diffusion"]


class Stop(Exception):
    """Somebody had enough."""


def silent(pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {}


@pytest.fixture
def pipe(tiny_models: Callable[[str], Path]) -> Any:
    return load(tiny_models("ddpm"))


def drawn(
    pipe: Any, scheduler: str | None = None, *, seeds: Sequence[int] = SEEDS, eta: float | None = None,
    on_step: Any = silent,
) -> Tensor:  # fmt: skip
    kind = SCHEDULERS[scheduler] if scheduler else None
    wanted = {"class": kind.diffusers_class, "options": dict(kind.preset)} if kind else None
    fresh = new_scheduler(pipe.scheduler, wanted, seeds)
    with torch.inference_mode():
        return sample(
            copy.copy(pipe), fresh, generators(seeds), steps=STEPS, size=(SIDE, SIDE), eta=eta, on_step=on_step
        )


def test_the_loop_is_bit_equal_to_the_pipeline(pipe: Any) -> None:
    plain = pipe(batch_size=3, generator=generators(SEEDS), num_inference_steps=STEPS, output_type="pt").images

    assert torch.equal(drawn(pipe), plain)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_the_loop_is_bit_equal_to_the_pipeline_of_ddim(pipe: Any, eta: float) -> None:
    theirs: Any = DDIMPipeline(unet=pipe.unet, scheduler=pipe.scheduler)
    theirs.set_progress_bar_config(disable=True)

    plain = theirs(
        batch_size=3, generator=generators(SEEDS), num_inference_steps=STEPS, eta=eta, output_type="pt"
    ).images

    assert torch.equal(drawn(theirs, eta=eta), plain)


@pytest.mark.parametrize("scheduler", DIFFUSION)
def test_every_scheduler_of_a_diffusion_model_drives_it(pipe: Any, scheduler: str) -> None:
    told: list[int] = []

    def on_step(used: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        told.append(used.num_timesteps)
        return {}

    whole = drawn(pipe, scheduler, on_step=on_step)
    turned = drawn(pipe, scheduler, seeds=SEEDS[::-1])

    assert told == [len(told)] * SCHEDULERS[scheduler].model_calls(STEPS)
    assert bool(torch.isfinite(whole).all())
    assert torch.equal(whole, turned.flip(0))


def test_a_step_may_change_the_latents(pipe: Any) -> None:
    grey = drawn(pipe, on_step=lambda pipe, step, timestep, tensors: {"latents": tensors["latents"] * 0})

    assert torch.equal(grey, torch.full_like(grey, 0.5))


def test_a_step_may_end_it(pipe: Any) -> None:
    def on_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if step == 1:
            raise Stop
        return {}

    with pytest.raises(Stop):
        drawn(pipe, on_step=on_step)

    assert not hasattr(pipe, "num_timesteps")
