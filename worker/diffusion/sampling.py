"""One pipeline call: seeds, noise and scheduler of a batch.

An image must not change with the batch that happens to carry it. So every image draws from a generator of its own,
on the CPU and in float32, where the numbers do not depend on the card; and every batch gets a new scheduler, since
schedulers keep state between steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
import torch
from torch import Tensor

from storage.errors import ModelUnusable
from worker.renderer import Recipe


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per seed, each in [0, 2**63)."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def starting_noise(draws: Sequence[torch.Generator], *, channels: int, height: int, width: int) -> Tensor:
    """Draw the first latents of a batch.

    Args:
        draws: One per image; the steps of a stochastic scheduler draw on from them.
        channels: Of the latents.
        height: Of the latents.
        width: Likewise.

    Returns:
        Standard normal float32 on the CPU, (len(draws), channels, height, width).
    """
    return torch.cat([torch.randn((1, channels, height, width), generator=draw) for draw in draws])


def new_scheduler(pattern: Any, wanted: Mapping[str, Any], seeds: Sequence[int]) -> Any:
    """A scheduler of its own for one batch.

    Args:
        pattern: The model's scheduler; what the recipe leaves open comes from its config.
        wanted: "class" and "options" of the recipe.
        seeds: Of the batch.

    Raises:
        ModelUnusable: The installed diffusers has no such class.
    """
    kind = getattr(diffusers, wanted["class"], None)
    if kind is None:
        raise ModelUnusable(wanted["class"], f"diffusers {diffusers.__version__} has no such scheduler; update it")
    scheduler = kind.from_config(dict(pattern.config), **wanted["options"])
    if hasattr(scheduler, "noise_sampler_seed"):
        scheduler.noise_sampler_seed = list(seeds)  # it ignores generators; one path of noise per image
    return scheduler


def call_arguments(recipes: Sequence[Recipe]) -> dict[str, Any]:
    """What a batch says to the pipeline in words and numbers; its recipes share a batch key."""
    first = recipes[0]
    negative = [recipe["negative_prompt"] for recipe in recipes]
    return {
        "prompt": [recipe["prompt"] for recipe in recipes],
        "negative_prompt": None if negative[0] is None else negative,  # SDXL: None is not ""
        "height": first["height"],
        "width": first["width"],
        "num_inference_steps": first["steps"],
        "guidance_scale": first["guidance_scale"],
    }
