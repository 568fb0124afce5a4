"""The real renderer with tiny models, spoken to as a job speaks: values of keys, models and pictures by name."""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from storage.settings import Settings
from storage.spec.fields import FIELDS, IMAGE_KEYS, IMAGE_TO_IMAGE, TEXT_TO_IMAGE, check_value
from storage.spec.plan import Plan
from storage.spec.recipe import ModelFacts, model_key, models_of, recipe_of
from worker.diffusion import DiffusionRenderer
from worker.renderer import Flaw, Picture, Recipe, StopRendering

Models = Callable[[str], Path]
Values = Mapping[str, Any]
PLAN = Plan(device_type="cpu", dtype="float32", batch=2, threads=1, tf32=False)
HALF = PLAN.model_copy(update={"dtype": "float16"})
CHECKED = "sd_checked"  # Stable Diffusion with a safety checker that finds everything
MARKS = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),
    pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning"),  # diffusers calls it itself
]
T2I, I2I = TEXT_TO_IMAGE, IMAGE_TO_IMAGE
LONG = "a red fox " * 30
CONTROL = {"controlnet": "controlnet", "control_image": "one"}
IP = {"ip_adapter": "ip_adapter", "ip_adapter_image": "one"}
TOY = {"embeddings": [{"model": "embedding", "token": tiny.TOKEN}], "prompt": f"a {tiny.TOKEN}"}
TOY_XL = {"embeddings": [{"model": "embedding_xl", "token": tiny.TOKEN}], "prompt": f"a {tiny.TOKEN}", "model": "sdxl"}
LORA = {"loras": [{"model": "lora", "scale": 0.7}]}
REFINER = {"model": "sdxl", "refiner": "refiner"}


@dataclass(frozen=True, slots=True)
class Each:
    """A value that differs between the images of a batch."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)


def rows(values: Values, count: int) -> list[dict[str, Any]]:
    """What each of `count` images of a batch has; the values of an `Each` are walked again and again."""
    return [
        {
            key: value.values[place % len(value.values)] if isinstance(value, Each) else value
            for key, value in values.items()
        }
        for place in range(count)
    ]


@cache
def photo(name: str) -> Image.Image:
    """An input picture by its name: "mask" is white in its middle, "wide" is no square, all others are waves."""
    side = tiny.SIDE
    if name == "mask":
        mask = Image.new("L", (side, side))
        mask.paste(255, (10, 8, 24, 22))
        return mask
    if name == "corner":
        mask = Image.new("L", (side, side))
        mask.paste(255, (0, 0, 16, 16))
        return mask
    width = 2 * side if name == "wide" else side
    phase = sum(map(ord, name))
    down, right = np.mgrid[0:side, 0:width] / side
    waves = [np.sin((phase % (7 + k) + 2 + k) * down + (k + 3) * right + phase) for k in range(3)]
    return Image.fromarray(((np.stack(waves, axis=2) + 1) * 127.5).astype(np.uint8))


def photo_key(name: str) -> str:
    """What stands for a picture in a recipe."""
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


class Watch:
    """Keeps what it hears; may stop, may want previews."""

    previewer: str | None = None

    def __init__(self, *, stop_at: int | None = None, every: int | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self.frames: list[tuple[int, Image.Image]] = []
        self.preview_every = every
        self._stop_at = stop_at

    def step(self, step: int, steps: int) -> None:
        self.steps.append((step, steps))
        if step == self._stop_at:
            raise StopRendering

    def preview(self, slot: int, picture: Image.Image) -> None:
        self.frames.append((slot, picture))


class Bench:
    """A renderer and the models that it finds."""

    def __init__(self, models: Models, home: Path, *, resident: int = 30, callbacks: str = "") -> None:
        self.renderer = DiffusionRenderer(Settings(home=home, resident_pipelines=resident, callbacks=callbacks))
        self._models = models
        self._home = home
        self._photos: dict[str, Image.Image] = {}
        self._more: dict[str, Path] = {}

    def add(self, name: str, path: Path) -> None:
        """A model of a test's own."""
        self._more[name] = path

    def folder(self, name: str) -> Path:
        """Where a model lies."""
        if name != CHECKED:
            return self._more.get(name) or self._models(name)
        folder = self._home / name
        if not folder.exists():
            shutil.copytree(self._models("sd"), folder)
            shutil.copytree(self._models("checker_strict"), folder / "safety_checker")
        return folder

    def recipe(self, values: Values, *, mode: str = TEXT_TO_IMAGE) -> dict[str, Any]:
        """What a job of these values gives the renderer."""
        silent = {name: None if field.default is ... else field.default for name, field in FIELDS.items()}
        said = {name: self._checked(name, value) for name, value in values.items()}
        facts = {}
        for kind, name in models_of(silent | said):
            entry = self.renderer.resolve(str(self.folder(name)), kind=kind)
            facts[model_key(kind, name)] = ModelFacts(**entry.model_dump())
        return recipe_of(mode, silent | said, facts)

    def load(self, values: Values, *, mode: str = TEXT_TO_IMAGE, plan: Plan = PLAN) -> None:
        """Make one image's models ready."""
        self.renderer.load(self.recipe(values, mode=mode), plan=plan)

    def check(self, values: Values, *, mode: str = TEXT_TO_IMAGE, plan: Plan = PLAN) -> None:
        """Raises OptionRefused."""
        self.renderer.check(self.recipe(values, mode=mode), plan=plan)

    def draw(
        self, images: Sequence[Values], *, mode: str = TEXT_TO_IMAGE, plan: Plan = PLAN, watch: Watch | None = None
    ) -> list[Picture | Flaw]:
        """One batch, checked, loaded and rendered."""
        recipes: list[Recipe] = [self.recipe(one, mode=mode) for one in images]
        self.renderer.check(recipes[0], plan=plan)
        self.renderer.load(recipes[0], plan=plan)
        return self.renderer.render(recipes, plan=plan, watch=watch or Watch(), images=self._photos.__getitem__)

    def pixels(self, images: Sequence[Values], *, mode: str = TEXT_TO_IMAGE, plan: Plan = PLAN) -> list[str]:
        """The hashes of one batch's pictures, all of which must be good."""
        return [pixels_of(made) for made in self.draw(images, mode=mode, plan=plan)]

    def _checked(self, name: str, value: Any) -> Any:
        if name in IMAGE_KEYS and value is not None:
            self._photos[photo_key(value)] = photo(value)
            value = photo_key(value)
        return None if value is None else check_value(name, value, path=name)


def installed(patch: pytest.MonkeyPatch, site: Path) -> None:
    """Install the tests' callbacks as an operator would: a distribution with entry points."""
    info = site / "toy_callbacks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-callbacks\nVersion: 1.0\n")
    names = [f"{name} = renderer_by_hand:{name.capitalize()}" for name in ("fade", "hush", "flood")]
    (info / "entry_points.txt").write_text("\n".join(["[seedfarm.callbacks]", *names, ""]))
    patch.syspath_prepend(site)


def pixels_of(made: Picture | Flaw) -> str:
    """The hash of a good picture's pixels."""
    assert isinstance(made, Picture), made
    return hash_of(made.image)


def hash_of(image: Image.Image) -> str:
    """Of size and pixels; tests compare hashes, since a difference of pixels is nothing to read."""
    return f"{image.size} {hashlib.sha256(image.convert('RGB').tobytes()).hexdigest()[:16]}"


def job(**given: Any) -> dict[str, Any]:
    """A job of one batch; images differ in seed and prompt."""
    usual = {"model": "sd", "prompt": Each("a red fox", "a blue owl"), "seed": Each(1, 2), "steps": 3}
    return {**usual, "width": tiny.SIDE, "height": tiny.SIDE, **given}


def pipes_of(bench: Bench) -> list[Any]:
    easel = bench.renderer._easel
    assert easel is not None
    return list(easel.pipes)


def state_of(bench: Bench) -> dict[str, Any]:
    """Every weight of the pipelines that are set up, and the words of their tokenizers."""
    state: dict[str, Any] = {}
    for place, pipe in enumerate(pipes_of(bench)):
        for name, part in pipe.components.items():
            if isinstance(part, torch.nn.Module):
                state |= {f"{place}.{name}.{key}": tensor.clone() for key, tensor in part.state_dict().items()}
            elif hasattr(part, "get_vocab"):
                state[f"{place}.{name}"] = part.get_vocab()
    return state


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return set(one) == set(other) and all(
        value.dtype == other[key].dtype and torch.equal(value, other[key]) if isinstance(value, torch.Tensor)
        else value == other[key] for key, value in one.items()
    )  # fmt: skip


def dtypes_of(parts: Mapping[int, torch.nn.Module]) -> dict[tuple[int, str], torch.dtype]:
    """Of every weight of a checkpoint; a LoRA's come and go."""
    named = ((key, name, each) for key, part in parts.items() for name, each in part.named_parameters())
    return {(key, name.replace(".base_layer", "")): each.dtype for key, name, each in named if "lora_" not in name}


def reasons(made: list[Picture | Flaw]) -> list[str]:
    return [one.reason if isinstance(one, Flaw) else "picture" for one in made]
