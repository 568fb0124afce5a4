"""What a plan changes besides the recipe: low bits, memory, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from storage.errors import RefusedHere
from storage.settings import Settings
from storage.spec.plan import Plan
from worker.diffusion import DiffusionRenderer
from worker.renderer import Picture, Recipe

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers", "ignore::FutureWarning:diffusers")


class Watch:
    """Wants nothing."""

    preview_every: int | None = None
    previewer: str | None = None

    def step(self, step: int, steps: int) -> None:
        """Go on."""

    def preview(self, slot: int, picture: object) -> None:
        """None is wanted."""


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> DiffusionRenderer:
    return DiffusionRenderer(Settings(home=tmp_path_factory.mktemp("home"), resident_pipelines=2))


@pytest.fixture(params=["sd", "sdxl", "flux"])
def recipe(request: pytest.FixtureRequest, renderer: DiffusionRenderer, tiny_models: Callable[[str], Path]) -> Recipe:
    entry = renderer.resolve(str(tiny_models(request.param)), kind="checkpoint")
    return {
        "mode": "text-to-image", "model": entry.digest, "prompt": "a red fox", "seed": 1, "steps": 2,
        "width": 64, "height": 64, "guidance_scale": entry.guidance_scale,
    }  # fmt: skip


def pixels(renderer: DiffusionRenderer, recipe: Recipe, **changes: Any) -> Any:
    plain = {"device_type": "cpu", "dtype": "float32", "batch": 2, "threads": 1, "tf32": False}
    plan = Plan.model_validate(plain | changes)
    renderer.load(recipe, plan=plan)
    made = renderer.render([recipe, {**recipe, "seed": 2}], plan=plan, watch=Watch(), images=no_images)
    return numpy.stack([numpy.asarray(one.image, dtype=int) for one in made if isinstance(one, Picture)])


def no_images(name: str) -> Any:
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("change", "most"),
    [
        pytest.param({"vae_slicing": True}, 1, id="slicing"),
        pytest.param({"attention": "math"}, 1, id="attention"),
        pytest.param({"dtype": "float16"}, 4, id="half"),
    ],
)
def test_a_plan_changes_low_bits_only(
    renderer: DiffusionRenderer, recipe: Recipe, change: dict[str, Any], most: int
) -> None:
    before = pixels(renderer, recipe)

    changed = pixels(renderer, recipe, **change)

    assert numpy.abs(changed - before).max() <= most
    assert numpy.array_equal(pixels(renderer, recipe), before), "the next batch is as before"


def test_tiles_show_and_are_gone_with_the_next_batch(renderer: DiffusionRenderer, recipe: Recipe) -> None:
    before = pixels(renderer, recipe)

    tiled = pixels(renderer, recipe, vae_tiling=True)

    assert not numpy.array_equal(tiled, before)
    assert numpy.array_equal(pixels(renderer, recipe), before)


def test_what_the_device_cannot_do_is_refused_by_name(renderer: DiffusionRenderer, recipe: Recipe) -> None:
    with pytest.raises(RefusedHere, match=r"plan\.offload = 'model': moves weights off a card"):
        pixels(renderer, recipe, offload="model")
