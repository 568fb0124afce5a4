"""What a worker process draws, to be compared with what others draw. Processes start with it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from storage.settings import Settings
from storage.spec.plan import Plan
from storage.spec.schedulers import SCHEDULERS
from worker.diffusion import DiffusionRenderer
from worker.renderer import Picture, Recipe

PLAN = Plan(device_type="cpu", dtype="float32", batch=3, threads=1, tf32=False)
SIDE, STEPS = 32, 2
PROMPTS = ("a red fox", "a blue owl", "", "two small cats")


class Silent:
    """Nobody watches."""

    preview_every = None
    previewer = None

    def step(self, step: int, steps: int) -> None:
        """See `Watch`."""

    def preview(self, slot: int, picture: Image.Image) -> None:
        """See `Watch`."""


class Bench:
    """One worker's renderer and the tiny models that it draws with."""

    def __init__(self, home: Path, models: dict[str, Path]) -> None:
        torch.set_num_threads(1)
        self._renderer = DiffusionRenderer(Settings(home=home, resident_pipelines=3))
        self._digests = {
            training: self._renderer.resolve(str(folder), kind="checkpoint").digest
            for training, folder in models.items()
        }

    def recipe(self, scheduler: str, seed: int, prompt: str = PROMPTS[0]) -> dict[str, Any]:
        """One picture of the model that a scheduler fits."""
        kind = SCHEDULERS[scheduler]
        return {
            "mode": "text-to-image", "model": self._digests[kind.models], "prompt": prompt, "seed": seed,
            "steps": STEPS, "guidance_scale": 5.0, "width": SIDE, "height": SIDE,
            "scheduler": {"class": kind.diffusers_class, "options": dict(kind.preset)},
        }  # fmt: skip

    def hashes(self, recipes: Sequence[Recipe]) -> list[str]:
        """Of the pixels of one batch; a short one is filled up with its last image, as a worker does."""
        full = [*recipes, *[recipes[-1]] * (PLAN.batch - len(recipes))]
        self._renderer.load(full[0], plan=PLAN)
        made = self._renderer.render(full, plan=PLAN, watch=Silent(), images=_no_image)
        return [_hash(one) for one in made[: len(recipes)]]


def whole_table(home: Path, models: dict[str, Path], slot: int) -> dict[str, str]:
    """In a process of its own: one image by every scheduler, in that slot, among other images."""
    bench = Bench(home, models)
    found = {}
    for name in SCHEDULERS:
        batch = [bench.recipe(name, 100 + slot + place, PROMPTS[place]) for place in range(PLAN.batch)]
        batch[slot] = bench.recipe(name, 11)
        found[name] = bench.hashes(batch)[slot]
    return found


def _hash(made: Any) -> str:
    assert isinstance(made, Picture), made
    return hashlib.sha256(made.image.tobytes()).hexdigest()


def _no_image(name: str) -> Image.Image:
    raise AssertionError(name)
