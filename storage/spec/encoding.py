"""The formats that pictures are encoded in, and how a job's `output` chooses among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file."""

    name: str  # as a job file says it
    suffix: str  # of file names and keys, without the dot
    content_type: str
    quality: int | None = None  # where nobody says; None: the format has none


FORMATS: Final[Mapping[str, Format]] = {
    entry.name: entry
    for entry in (
        Format("png", "png", "image/png"),
        Format("jpeg", "jpg", "image/jpeg", quality=95),
        Format("webp", "webp", "image/webp", quality=90),
    )
}
SUFFIXES: Final = frozenset(entry.suffix for entry in FORMATS.values())


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pixels become bytes."""

    format: str = "png"
    quality: int | None = None  # 1 to 100 of JPEG and WebP; None: the format's own
    lossless: bool = False  # of WebP; PNG is always so

    @classmethod
    def of(cls, output: Mapping[str, Any]) -> "Encoding":
        """What the `output` of a frozen spec says."""
        return cls(output["format"], output.get("quality"), bool(output.get("lossless", False)))

    @property
    def kind(self) -> Format:
        """The format's entry."""
        return FORMATS[self.format]

    @property
    def keeps_pixels(self) -> bool:
        """Whether reading the file gives the same pixels again."""
        return self.lossless or self.kind.quality is None

    def to_json(self) -> dict[str, Any]:
        """For the record in the file: what is said, and nothing else."""
        if self.keeps_pixels:
            return {"format": self.format, **({"lossless": True} if self.lossless else {})}
        more = {"subsampling": "4:4:4"} if self.format == "jpeg" else {}
        return {"format": self.format, "quality": self.quality or self.kind.quality, **more}
