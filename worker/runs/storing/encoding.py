"""From pixels to the bytes of a file, as the job's `output` wants them: watermark, encoding, marks.

A watermark is code of the operator's own, found by entry point (group "seedfarm.watermarks") and allowed by whoever
runs the worker with FARM_WATERMARKS, as callbacks are. It is called with (picture, recipe), on several upload threads
at once, and gives the picture back, of the same size and mode.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from storage.errors import RefusedHere
from storage.marks import Encoding, Marks, encode
from storage.pictures import decode
from storage.spec.named_code import WATERMARK
from storage.spec.plan import Plan
from worker.named_code import find_code
from worker.renderer import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

Watermark = Callable[["Image", Recipe], "Image"]
_PLAIN: Final = {"format": "png"}


class WatermarkFailed(Exception):
    """A watermark raised, or gave something else than the picture. Args: name, what is wrong."""

    def __str__(self) -> str:
        return "{!r} {}".format(*self.args)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file, and the pixels that whoever reads it will see."""

    data: bytes
    picture: "Image"


class Encoder:
    """How the files of one job are made."""

    def __init__(self, output: Mapping[str, Any] = _PLAIN, *, allowed: tuple[str, ...] = ()) -> None:
        """Make files as `output` of a spec says.

        Raises:
            OptionRefused: Its watermark is not installed, or not in `allowed`.
        """
        self._encoding = Encoding.of(output)
        self._level = output.get("metadata", "full")
        self._prompts = output.get("prompts", True)
        self._name = output.get("watermark")
        self._watermark = None if self._name is None else _find(self._name, allowed)

    @property
    def suffix(self) -> str:
        """Of keys, without the dot."""
        return self._encoding.kind.suffix

    @property
    def content_type(self) -> str:
        """Of stored objects."""
        return self._encoding.kind.content_type

    def encode(self, picture: "Image", recipe: Recipe, *, plan: Plan, libraries: Mapping[str, str]) -> Encoded:
        """Make the file of one picture. Raises WatermarkFailed, and OSError where the format cannot hold it."""
        if self._watermark is not None:
            picture = self._marked(picture, recipe, self._watermark)
        marks = Marks(
            recipe=recipe, plan=plan.model_dump(), libraries=libraries, level=self._level, prompts=self._prompts,
            edits={} if self._name is None else {"watermark": self._name},
        )  # fmt: skip
        data = encode(picture, self._encoding, marks=marks)
        if self._encoding.keeps_pixels:
            return Encoded(data, picture)
        return Encoded(data, decode(data, max_pixels=picture.width * picture.height))

    def _marked(self, picture: "Image", recipe: Recipe, watermark: Watermark) -> "Image":
        wanted = (picture.size, picture.mode)
        try:
            marked = watermark(picture, deepcopy(dict(recipe)))  # ours is hashed later
            found = (marked.size, marked.mode)
        except Exception as error:  # somebody else's code
            raise WatermarkFailed(self._name, f"raised {type(error).__name__}: {error}") from error
        if found != wanted:
            before, after = (f"{size[0]}x{size[1]} {mode}" for size, mode in (wanted, found))
            raise WatermarkFailed(self._name, f"made {after} of a picture of {before}, and must keep size and mode")
        return marked


def _find(name: str, allowed: tuple[str, ...]) -> Watermark:
    entry = find_code(WATERMARK, name, allowed=allowed)
    try:
        found: Watermark = entry.load()
    except Exception as error:  # somebody else's code
        rule = f"cannot be loaded: {type(error).__name__}: {error}"
        raise RefusedHere("output.watermark", name, rule) from error
    return found
