"""Noise in half precision is float32's, rounded: the same seed starts from the same picture whatever the weights."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionImg2ImgPipeline
from PIL import Image
from torch import Tensor
from torch.overrides import TorchFunctionMode

from scheduler_bench import load
from storage.spec.schedulers import SCHEDULERS
from worker.diffusion.calling.sampling import Float32Noise, generators, new_scheduler, seat, starting_noise

# diffusers hands numpy tensors in a way that numpy deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),
]
HALVES = [pytest.param(torch.float16, id="float16"), pytest.param(torch.bfloat16, id="bfloat16")]
STEPS = 3


class Listening(TorchFunctionMode):
    """Keeps what generators are asked for, as it leaves torch."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.randn and (kwargs or {}).get("generator") is not None:
            self.draws.append(made)
        return made


@pytest.mark.parametrize("dtype", HALVES)
def test_a_half_draw_is_the_rounded_float32_draw(dtype: torch.dtype) -> None:
    shape = (1, 4, 16, 16)
    [first], [second] = generators([7]), generators([7])

    with Float32Noise():
        half = torch.randn(shape, generator=first, dtype=dtype)

    assert torch.equal(half, torch.randn(shape, generator=second).to(dtype))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "kdpm2_a", "dpmpp_2m_sde", "sa_solver", "lcm", "ddpm"])
def test_a_pipeline_in_half_draws_what_it_draws_in_float32(
    dtype: torch.dtype, scheduler: str, tiny_models: Callable[[str], Path]
) -> None:
    folder = tiny_models("sd")

    whole, half = (_draws_of(load_as(folder, each), scheduler) for each in (torch.float32, dtype))

    assert (len(whole) > 2) == SCHEDULERS[scheduler].stochastic
    assert all(torch.equal(*pair) for pair in zip(whole, half, strict=True))


@pytest.mark.parametrize("dtype", HALVES)
def test_the_first_latents_in_half_are_those_of_float32_rounded(
    dtype: torch.dtype, tiny_models: Callable[[str], Path]
) -> None:
    pipe, draws = copy.copy(load_as(tiny_models("sd"), dtype)), generators([3, 4])
    seat(pipe, new_scheduler(pipe.scheduler, None, [3, 4]), draws)

    latents = pipe.prepare_latents(2, 4, 32, 32, dtype, torch.device("cpu"), draws)

    side = 32 // pipe.vae_scale_factor
    assert torch.equal(latents, starting_noise(generators([3, 4]), shape=(4, side, side)).to(dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_image_to_image_in_half_draws_what_it_draws_in_float32(
    dtype: torch.dtype, tiny_models: Callable[[str], Path]
) -> None:
    heard = []
    for each in (torch.float32, dtype):
        base = load_as(tiny_models("sd"), each)
        pipe, draws = StableDiffusionImg2ImgPipeline(**base.components, requires_safety_checker=False), generators([3])
        pipe.set_progress_bar_config(disable=True)
        scheduler = new_scheduler(base.scheduler, _wanted("euler_a"), [3])
        seat(pipe, scheduler, draws)
        with Listening() as ear:
            pipe("a fox", image=Image.new("RGB", (32, 32), "red"), strength=0.7, generator=draws, num_inference_steps=4)
        heard.append(ear.draws)

    assert len(heard[0]) > 2  # of the VAE, of the start, of the steps
    assert all(torch.equal(*pair) for pair in zip(*heard, strict=True))


@pytest.mark.parametrize("dtype", HALVES)
def test_a_path_of_noise_in_half_is_that_of_float32_rounded(dtype: torch.dtype) -> None:
    import diffusers

    steps = []
    for each in (torch.float32, dtype):
        scheduler = new_scheduler(diffusers.DDIMScheduler(), _wanted("dpmpp_sde"), [3, 4])
        pipe = type("Pipe", (), {"components": {"unet": torch.nn.Linear(1, 1).to(each)}})()
        seat(pipe, scheduler, generators([3, 4]))
        scheduler.set_timesteps(STEPS)
        still = torch.zeros(2, 4, 8, 8, dtype=each)
        steps.append(scheduler.step(still, scheduler.timesteps[0], still).prev_sample)

    assert steps[1].float().allclose(steps[0].to(dtype).float(), rtol=2e-2)
    assert float(steps[0].std()) > 0


def load_as(folder: Path, dtype: torch.dtype) -> Any:
    if dtype == torch.float32:
        return load(folder)
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _wanted(scheduler: str) -> dict[str, Any]:
    kind = SCHEDULERS[scheduler]
    return {"class": kind.diffusers_class, "options": dict(kind.preset)}


def _draws_of(base: Any, scheduler: str) -> list[Tensor]:
    """All noise of a batch of two."""
    pipe, draws = copy.copy(base), generators([3, 4])
    seat(pipe, new_scheduler(base.scheduler, _wanted(scheduler), [3, 4]), draws)
    with Listening() as ear:
        pipe(["a fox"] * 2, num_inference_steps=STEPS, generator=draws, output_type="latent", height=32, width=32)
    heard: list[Tensor] = ear.draws
    return heard
