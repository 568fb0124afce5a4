"""A picture as it leaves the farm: as it was rendered, or written anew in another size, format or with other marks.

What is embedded is made again from recipe and plan, so that it tells the truth of the new file. Signing comes last.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageOps

from dispatcher.export.options import ExportOptions, size_of
from storage.errors import InvalidSpec
from storage.marks.embed import encode
from storage.marks.record import FULL, Level, Marks
from storage.spec.encoding import FORMATS, Encoding

if TYPE_CHECKING:
    from storage.marks.credentials import Signing

LIBRARIES: Final = ("diffusers", "torch", "transformers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finishing:
    """How pictures of one job are finished."""

    rendered: Encoding
    wanted: Encoding
    size: tuple[int, int | None] | None = None
    level: Level = "full"
    prompts: bool = True
    watermark: str | None = None  # that was put in before it was encoded
    is_anew: bool = False  # encoded again
    signing: "Signing | None" = None

    @property
    def suffix(self) -> str:
        """Of file names, without the dot."""
        return self.wanted.kind.suffix

    def finish(
        self, data: bytes, *, recipe: Mapping[str, Any], plan: Mapping[str, Any], environment: Mapping[str, Any],
        title: str,
    ) -> bytes:  # fmt: skip
        """The bytes to export.

        Args:
            data: The picture as it was rendered.
            recipe: That it was rendered by.
            plan: Likewise.
            environment: Versions of the libraries that rendered it.
            title: Name in the data set, for the credentials.

        Raises:
            OSError: The bytes are no picture, or do not fit the format.
            CannotSign: The certificate or key is refused.
        """
        if self.is_anew:
            data = self._anew(data, recipe, plan, environment)
        if self.signing is not None:
            from storage.marks.credentials import sign

            data = sign(data, self.wanted.format, signing=self.signing, title=title)
        return data

    def _anew(
        self, data: bytes, recipe: Mapping[str, Any], plan: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> bytes:
        formats = tuple(name.upper() for name in FORMATS)
        with Image.open(io.BytesIO(data), formats=formats) as opened:
            picture = _sized(opened.convert("RGB"), self.size)
            edits: dict[str, Any] = {} if self.watermark is None else {"watermark": self.watermark}
            edits |= {} if picture.size == opened.size else {"size": list(picture.size)}
        libraries = {name: str(environment[name]) for name in LIBRARIES if name in environment}
        marks = Marks(
            recipe=recipe, plan=plan, libraries=libraries, level=self.level, prompts=self.prompts, edits=edits
        )
        return encode(picture, self.wanted, marks=marks)


def finishing_of(options: ExportOptions, output: Mapping[str, Any], *, signing: "Signing | None") -> Finishing:
    """How an export finishes the pictures of a job.

    Args:
        options: Of the export.
        output: Of the job's spec.
        signing: With what files are signed.

    Raises:
        InvalidSpec: Options that contradict each other or the job.
    """
    rendered = Encoding.of(output)
    wanted = rendered
    if options.encode is not None and options.encode != rendered.format:
        wanted = Encoding(options.encode)
    if options.quality is not None:
        if wanted.kind.quality is None:
            raise InvalidSpec("--quality", options.quality, f"{wanted.format} has none; add --format jpeg or webp")
        wanted = Encoding(wanted.format, options.quality)
    level: Any = options.metadata or output.get("metadata", FULL)
    told = output.get("prompts", True)
    prompts = options.prompts and told  # an export tells no prompt that a job keeps to itself
    marks_anew = options.metadata is not None or (level == FULL and prompts != told)
    if marks_anew and not rendered.keeps_pixels and options.encode is None and options.size is None:
        rule = f"writes {rendered.format} pictures anew, which changes pixels; add --format {rendered.format} to agree"
        asked = "--no-prompts" if options.metadata is None else "--metadata"
        raise InvalidSpec(asked, options.metadata, rule)
    is_same = wanted == rendered and options.size is None and not marks_anew
    return Finishing(
        rendered=rendered, wanted=wanted, size=None if options.size is None else size_of(options.size), level=level,
        prompts=prompts, watermark=output.get("watermark"), is_anew=not is_same, signing=signing,
    )  # fmt: skip


def _sized(picture: Image.Image, size: tuple[int, int | None] | None) -> Image.Image:
    """Width and height: filled, what is over is cut off evenly. One number: the longer side, never enlarged."""
    if size is None:
        return picture
    width, height = size
    if height is not None:
        return picture if picture.size == (width, height) else ImageOps.fit(picture, (width, height), _FILTER)
    longer = max(picture.size)
    if longer <= width:
        return picture
    sides = [max(1, round(side * width / longer)) for side in picture.size]
    return picture.resize((sides[0], sides[1]), _FILTER)


_FILTER: Final = Image.Resampling.LANCZOS
