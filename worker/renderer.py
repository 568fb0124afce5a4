"""What a renderer is: models in, pictures out, on one device. One protocol, two of them (diffusers and fake).

A renderer knows nothing of jobs, chunks, stores or brokers. It is used by one thread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from storage.spec.plan import Plan
from storage.wire.messages import ModelEntry

if TYPE_CHECKING:
    from PIL.Image import Image

    from storage.blobs import BlobStore
    from storage.settings import Settings

Recipe = Mapping[str, Any]
Images = Callable[[str], "Image"]  # an input image by its hash


class StopRendering(Exception):  # no error; it leaves a pipeline call between two steps
    """The chunk is to end now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """The device that a child owns."""

    type: Literal["cpu", "cuda"]
    name: str  # for people
    memory_bytes: int  # 0 where unknown


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a picture of an otherwise good call cannot be used."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture that can be used, and what is to be known of it."""

    image: "Image"  # RGB
    flags: frozenset[str] = frozenset()  # "nsfw", "truncated"


class Watch(Protocol):
    """How a renderer tells of its steps, and hears that it should stop."""

    @property
    def preview_every(self) -> int | None:
        """Steps between two previews; None: none are wanted."""

    @property
    def previewer(self) -> str | None:
        """Digest of the tiny VAE that draws them; None: a linear map does."""

    def step(self, step: int, steps: int) -> None:
        """Step `step` of `steps` is done. Raises StopRendering."""

    def preview(self, slot: int, picture: "Image") -> None:
        """A small picture of the image in that place of the batch, as it looks now."""


class Renderer(Protocol):
    """Models in, pictures out."""

    name: str
    device: Device

    def environment(self) -> dict[str, Any]:
        """Library versions and device: what a picture's low bits depend on besides recipe and plan."""

    def libraries(self) -> dict[str, str]:
        """The part of it that is written into pictures."""

    def resident(self) -> list[str]:
        """Digests of the models that are loaded."""

    def resolve(self, source: str, *, kind: str) -> ModelEntry:
        """Find a model of that kind and look at its files; from then on it is known by its digest.

        Raises:
            ModelMissing: It is not here, and cannot be fetched.
            ModelUnusable: It is something else.
        """

    def check(self, recipe: Recipe, *, plan: Plan) -> None:
        """Refuse what the models of a recipe cannot do.

        Raises:
            OptionRefused: With the key of the job file.
            ModelMissing, ModelUnusable: As `load`.
        """

    def too_long(self, recipe: Recipe) -> str | None:
        """What the loaded model would not read of a recipe's prompts, in a few words; None where it reads all."""

    def load(self, recipe: Recipe, *, plan: Plan) -> None:
        """Make everything that a recipe names by digest ready for `render`. Raises ModelMissing, ModelUnusable."""

    def render(self, recipes: Sequence[Recipe], *, plan: Plan, watch: Watch, images: Images) -> "list[Picture | Flaw]":
        """Draw one batch of recipes that share a `batch_key`, of the size that the plan says; the first was loaded.

        Raises:
            StopRendering: From the watch.
            Exception: Whatever the pipeline raises; nothing of the batch was made.
        """

    def recover(self) -> bool:
        """After out of memory: let go of all but the models that were loaded last. `load` follows.

        Where `load` was what failed, that is all of them. Not called after an error of the device.

        Returns:
            Whether there was anything to let go of, so that it is worth trying again.
        """

    def memory(self) -> str:
        """The device and what is left of its memory, for people: "NVIDIA H100, 70.1 of 79.2 GiB free"."""


def make_renderer(settings: "Settings", store: "BlobStore") -> Renderer:
    """The renderer that the settings name; only then is torch imported. Frozen models come from `store`."""
    if settings.renderer == "fake":
        from worker.fake import FakeRenderer

        return FakeRenderer(settings)
    from worker.diffusion import DiffusionRenderer

    return DiffusionRenderer(settings, store)
