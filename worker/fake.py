"""A renderer without torch: test pictures at once, for trying a farm without a GPU and for tests of everything else.

A fake model is a folder with a fake.json: {"width": 64, "height": 64, "seconds_per_step": 0.0}, every key optional. A
picture shows its recipe: colours from the recipe's hash, the seed in digits.

More keys make a model misbehave as real ones do, for tests of a farm under faults. Seeds are listed under
`fail_seeds` (the call raises), `blank_seeds` (the picture is blank), `flat_seeds` (it is nearly so), `kill_seeds` (the
process dies), `hang_seeds` (the call never comes to its last step, and hears no order to stop) and `device_error_seeds`
(the call raises what torch raises when the device is broken). A batch larger than `oom_batch` does not fit the device.
"""

import hashlib
import json
import os
import platform
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL
from PIL import Image, ImageChops, ImageDraw, ImageFont
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from storage.errors import ModelMissing, ModelUnusable
from storage.models.digests import Hashes, data_files
from storage.settings import Settings
from storage.spec import canonical, digest
from storage.spec.plan import Plan
from storage.spec.recipe import CALLBACK
from storage.wire.messages import ModelEntry
from worker.renderer import Device, Flaw, Images, Picture, Recipe, Watch

FAKE_FILE = "fake.json"
_FONT = ImageFont.load_default_imagefont()  # a bitmap: its pixels do not depend on FreeType
_PREVIEW_SHARE = 8  # a preview has an eighth of the side


class FakeModel(BaseModel):
    """What a fake.json says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=64, ge=8, multiple_of=8)
    height: int = Field(default=64, ge=8, multiple_of=8)
    seconds_per_step: float = Field(default=0.0, ge=0)
    fail_seeds: list[int] = []
    blank_seeds: list[int] = []
    flat_seeds: list[int] = []
    kill_seeds: list[int] = []
    hang_seeds: list[int] = []
    device_error_seeds: list[int] = []
    oom_batch: int | None = Field(default=None, ge=0)


class OutOfMemoryError(RuntimeError):
    """Called as torch calls it: runs know such errors by their names."""


class AcceleratorError(RuntimeError):
    """Likewise."""


class FakeRenderer:
    """Draws recipes with Pillow."""

    name = "fake"
    device = Device(type="cpu", name="fake", memory_bytes=0)

    def __init__(self, settings: Settings) -> None:
        self._hashes = Hashes(None)
        self._limit = settings.resident_pipelines
        self._sources: dict[str, str] = {}  # by digest
        self._loaded: OrderedDict[str, FakeModel] = OrderedDict()

    def environment(self) -> dict[str, Any]:
        """See `Renderer.environment`."""
        system = {"python": platform.python_version(), "platform": platform.platform()}
        return {**self.libraries(), **system, "device": self.device.name}

    def libraries(self) -> dict[str, str]:
        """See `Renderer.libraries`."""
        return {"pillow": PIL.__version__}

    def resident(self) -> list[str]:
        """See `Renderer.resident`."""
        return list(self._loaded)

    def resolve(self, source: str, *, kind: str) -> ModelEntry:
        """See `Renderer.resolve`; every kind of model is a fake.json here, and callbacks are never called."""
        if kind == CALLBACK:
            return ModelEntry(kind=kind, digest="sha256:" + digest({"callback": source}), family="FakeCallback")
        model = _read(source)
        found = self._hashes.digest_of(data_files(Path(source)))
        self._sources[found] = source
        return ModelEntry(
            kind=kind, digest=found, family="FakePipeline", width=model.width, height=model.height, guidance_scale=7.5
        )

    def check(self, recipe: Recipe, *, plan: Plan) -> None:
        """See `Renderer.check`; nothing is refused."""

    def too_long(self, recipe: Recipe) -> str | None:  # noqa: ARG002
        """See `Renderer.too_long`; everything is read."""
        return None

    def load(self, recipe: Recipe, *, plan: Plan) -> None:  # noqa: ARG002  # plans are alike here
        """See `Renderer.load`."""
        digest = recipe["model"]
        if digest not in self._loaded:
            self._loaded[digest] = _read(self._sources[digest])
        self._loaded.move_to_end(digest)
        while len(self._loaded) > self._limit:
            self._loaded.popitem(last=False)

    def render(
        self,
        recipes: Sequence[Recipe],
        *,
        plan: Plan,  # noqa: ARG002
        watch: Watch,
        images: Images,  # noqa: ARG002
    ) -> list[Picture | Flaw]:
        """See `Renderer.render`."""
        model = self._loaded[recipes[0]["model"]]
        _misbehave(model, recipes)
        pictures = [draw(recipe) for recipe in recipes]
        steps = recipes[0]["steps"]
        for step in range(1, steps + 1):
            time.sleep(model.seconds_per_step)
            if step == steps and _any_of(model.hang_seeds, recipes):
                threading.Event().wait()
            if watch.preview_every and step % watch.preview_every == 0:
                for slot, picture in enumerate(pictures):
                    watch.preview(slot, _unfinished(picture, step / steps))
            watch.step(step, steps)
        if failing := _any_of(model.fail_seeds, recipes):
            raise RuntimeError(f"seed {failing[0]} stands under fail_seeds")
        blank = [recipe["seed"] in model.blank_seeds for recipe in recipes]
        made = [Image.new("RGB", one.size) if empty else one for one, empty in zip(pictures, blank, strict=True)]
        flat = [recipe["seed"] in model.flat_seeds for recipe in recipes]
        return [Picture(_fog(one) if empty else one) for one, empty in zip(made, flat, strict=True)]

    def recover(self) -> bool:
        """See `Renderer.recover`; there is nothing to let go of."""
        return False

    def memory(self) -> str:
        """See `Renderer.memory`."""
        return f"{self.device.name}, which has none"


def _misbehave(model: FakeModel, recipes: Sequence[Recipe]) -> None:
    """What a fake.json wants to go wrong at the beginning of a call."""
    if _any_of(model.kill_seeds, recipes):
        os._exit(9)
    if model.oom_batch is not None and len(recipes) > model.oom_batch:
        raise OutOfMemoryError(f"out of memory: a batch of {len(recipes)}, and oom_batch is {model.oom_batch}")
    if failing := _any_of(model.device_error_seeds, recipes):
        raise AcceleratorError(f"seed {failing[0]} stands under device_error_seeds")


def _any_of(seeds: Sequence[int], recipes: Sequence[Recipe]) -> list[int]:
    return [recipe["seed"] for recipe in recipes if recipe["seed"] in seeds]


def draw(recipe: Recipe) -> Image.Image:
    """The picture of a recipe: a gradient of two colours, a disc, the seed. Equal recipes give equal pixels."""
    key = hashlib.sha256(canonical(dict(recipe))).digest()
    size = (recipe["width"], recipe["height"])
    slope = Image.linear_gradient("L").rotate(90 * (key[0] % 4)).resize(size)
    one, other = (Image.new("RGB", size, _colour(key[start : start + 3])) for start in (1, 4))
    picture = Image.composite(one, other, slope)
    pen = ImageDraw.Draw(picture)
    radius = min(size) * (20 + key[7] % 20) // 100
    x, y = size[0] * (25 + key[8] % 50) // 100, size[1] * (25 + key[9] % 50) // 100
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(key[10:13]))
    pen.text((2, size[1] - 12), str(recipe["seed"])[-9:], font=_FONT, fill=(255, 255, 255))
    return picture


def _fog(picture: Image.Image) -> Image.Image:
    return Image.blend(Image.new("RGB", picture.size, (128, 128, 128)), picture, 0.02)


def _colour(raw: bytes) -> tuple[int, int, int]:
    return raw[0], raw[1], raw[2]


def _unfinished(picture: Image.Image, share: float) -> Image.Image:
    small = picture.resize((max(1, picture.width // _PREVIEW_SHARE), max(1, picture.height // _PREVIEW_SHARE)))
    return Image.blend(ImageChops.invert(small), small, share)


def _read(source: str) -> FakeModel:
    file = Path(source) / FAKE_FILE
    if not file.is_file():
        raise ModelMissing(source, f"no {FAKE_FILE} there, and this worker has FARM_RENDERER=fake")
    try:
        return FakeModel.model_validate(json.loads(file.read_text()))
    except (ValueError, ValidationError) as error:
        raise ModelUnusable(source, f"{FAKE_FILE}: {str(error).splitlines()[0]}") from None
