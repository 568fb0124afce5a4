"""The loop in docs/pipelines.md draws what the pipeline draws, bit for bit."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scheduler_bench import SIDE, load
from storage.spec.schedulers import SCHEDULERS
from worker.diffusion.calling.sampling import generators, new_scheduler

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")]
PAGE = Path(__file__).parents[1] / "docs" / "pipelines.md"
MAX_LINES = 60
STEPS, SCALE = 4, 5.0


@pytest.fixture(scope="module")
def code() -> str:
    [found] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_loop_is_short(code: str) -> None:
    assert len(code.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpmpp_2m", "pndm", "heun", "dpmpp_2m_sde_karras"])
def test_the_loop_is_equal_to_the_pipeline(code: str, scheduler: str, tiny_models: Callable[[str], Path]) -> None:
    kind, seeds = SCHEDULERS[scheduler], [5, 2**40]
    prompts, negative = ["a red fox", "two small cats"], ["", "a blue owl"]
    wanted = {"class": kind.diffusers_class, "options": dict(kind.preset)}
    pipes = [copy.copy(load(tiny_models("sd"))) for _ in range(2)]
    for pipe in pipes:
        pipe.scheduler = new_scheduler(pipe.scheduler, wanted, seeds)
    space: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), space)

    ours = space["render"](
        pipes[0], prompts, negative, seeds, steps=STEPS, guidance_scale=SCALE, height=SIDE, width=SIDE
    )
    theirs = pipes[1](
        prompts, negative_prompt=negative, num_inference_steps=STEPS, guidance_scale=SCALE, height=SIDE, width=SIDE,
        generator=generators(seeds), output_type="pt",
    ).images  # fmt: skip

    assert torch.equal(ours, theirs)
