"""Schedulers put to work: on tiny pipelines, and on a model whose pictures are known exactly."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from storage.spec.schedulers import SchedulerKind
from worker.diffusion.calling.sampling import generators, new_scheduler, seat

MODELS = {"diffusion": "sd", "flow": "sd3"}
FLOWS = ("sd3", "flux", "flux_schnell", "qwen", "z_image")
SIDE = 32  # pixels, and sides of the exact model's pictures
_MEAN, _STD = 0.6, 0.5  # of the exact model's pictures
_TRAINED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a scheduler made of noise, and what an exact solution makes of it."""

    mean: float
    spread: float
    error: float  # root mean square, picture by picture
    true_mean: float
    true_spread: float


@cache
def load(folder: Path) -> Any:
    """A tiny pipeline, silent, on one thread."""
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(
    pipe: Any, kind: SchedulerKind, seeds: Sequence[int], *, steps: int, prompts: Sequence[str] = (), **options: Any
) -> Tensor:
    """Samples of one batch, (n, 3, SIDE, SIDE)."""
    used, draws = copy.copy(pipe), generators(seeds)
    wanted = {"class": kind.diffusers_class, "options": {**kind.preset, **options}}
    seat(used, new_scheduler(pipe.scheduler, wanted, seeds), draws)
    samples: Tensor = used(
        list(prompts) or ["a fox"] * len(seeds), num_inference_steps=steps, generator=draws, output_type="pt",
        height=SIDE, width=SIDE,
    ).images  # fmt: skip
    return samples


def known_answer(kind: SchedulerKind, *, steps: int) -> Answer:
    """Sample from a model whose pictures have one mean and one spread, and which is right at every noise."""
    flows = kind.models == "flow"
    pattern = FlowMatchEulerDiscreteScheduler(shift=3.0) if flows else DDIMScheduler(**_TRAINED, clip_sample=False)
    scheduler = new_scheduler(pattern, {"class": kind.diffusers_class, "options": dict(kind.preset)}, [5])
    draws = generators([5])
    seat(SimpleNamespace(components={}), scheduler, draws)
    scheduler.set_timesteps(steps, device="cpu")
    noise = torch.randn(1, 4, SIDE, SIDE, generator=draws[0])
    sample = noise if flows else noise * scheduler.init_noise_sigma
    exact = noise
    for place, timestep in enumerate(scheduler.timesteps):
        seen = sample if flows else scheduler.scale_model_input(sample, timestep)
        signal, blur = _flow_at(timestep) if flows else _diffusion_at(timestep)
        spread = (signal**2 * _STD**2 + blur**2) ** 0.5  # of what is seen
        if place == 0:
            exact = _MEAN + _STD * (seen - signal * _MEAN) / spread
        picture = _MEAN + signal * _STD**2 / spread**2 * (seen - signal * _MEAN)
        rest = (seen - signal * picture) / blur
        predicted = rest - picture if flows else rest
        sample = scheduler.step(predicted, timestep, sample, return_dict=False)[0]
    error = float((sample - exact).square().mean().sqrt())
    if kind.stochastic:
        return Answer(float(sample.mean()), float(sample.std()), error, _MEAN, _STD)
    return Answer(float(sample.mean()), float(sample.std()), error, float(exact.mean()), float(exact.std()))


def _flow_at(timestep: Tensor) -> tuple[float, float]:
    sigma = float(timestep) / 1000
    return 1 - sigma, sigma


def _diffusion_at(timestep: Tensor) -> tuple[float, float]:
    """Signal and noise at a time; between two trained ones, logarithms are interpolated as samplers do it."""
    kept = _kept()
    low = int(timestep)
    high, part = min(low + 1, 999), float(timestep) - low
    ratios = ((1 - kept) / kept).log()
    ratio = float(((1 - part) * ratios[low] + part * ratios[high]).exp())
    return (1 / (1 + ratio)) ** 0.5, (ratio / (1 + ratio)) ** 0.5


@cache
def _kept() -> Tensor:
    kept: Tensor = DDIMScheduler(**_TRAINED).alphas_cumprod.double()
    return kept
