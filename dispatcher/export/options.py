"""What a user asks of an export: everything that decides its bytes, and nothing else."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from dispatcher.export.selection.splitting import By, Splits, parse_splits
from storage.errors import InvalidSpec

Format = Literal["webdataset", "imagefolder", "parquet", "folder"]
DEFAULT_CAPTION: Final = "prompt"
FORMATS: Final = ("webdataset", "imagefolder", "parquet", "folder")
_SIDE: Final = 16384  # pixels
_SIZE: Final = re.compile(r"(\d{1,5})(?:[xX](\d{1,5}))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """Options of `farm export`, by the names that users know them by."""

    format: Format = "webdataset"
    where: str | None = None
    with_rejected: bool = False
    without: tuple[str, ...] = ()  # quality flags
    limit: int | None = None
    split: str | None = None
    split_by: By = "image"
    caption: str | None = None  # column or label; None: the prompt
    captions: bool = False  # of format folder: a .txt beside every picture
    cls: str | None = None
    name: str | None = None  # of format folder: a pattern that goes behind the key
    size: str | None = None
    encode: str | None = None  # png, jpeg, webp; None: as rendered
    quality: int | None = None
    metadata: str | None = None  # full, minimal, none; None: as rendered
    prompts: bool = True  # whether any file of the data set says them
    shard_images: int | None = None
    certificate: str | None = None  # SHA-256 of the one that files are signed with
    sign_tsa: str | None = None  # time stamping authority
    sign_no_training: bool = False

    @property
    def splits(self) -> Splits:
        """The shares of `split`. Raises InvalidSpec."""
        return Splits(by=self.split_by) if self.split is None else parse_splits(self.split, by=self.split_by)

    @property
    def changes_bytes(self) -> bool:
        """Whether pictures are written anew, rather than copied."""
        asked = (self.size, self.encode, self.quality, self.metadata)
        return any(option is not None for option in asked) or not self.prompts

    def to_json(self) -> dict[str, Any]:
        """For the index: only what is said, so that an option that a later version adds changes no older hash.

        A condition may quote prompts: where those are withheld, its hash stands for it.
        """
        silent = asdict(ExportOptions())
        said = {name: value for name, value in asdict(self).items() if value != silent[name]}
        if said.get("caption") == DEFAULT_CAPTION:
            del said["caption"]
        if not self.prompts and self.where is not None:
            said["where"] = "sha256:" + hashlib.sha256(self.where.encode()).hexdigest()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def size_of(text: str) -> tuple[int, int | None]:
    """Read `--size`: width and height, or the longer side alone. Raises InvalidSpec."""
    found = _SIZE.fullmatch(text)
    sides = [] if found is None else [int(side) for side in found.groups() if side is not None]
    if not sides or not all(1 <= side <= _SIDE for side in sides):
        raise InvalidSpec("--size", text, f"must be WIDTHxHEIGHT or the longer side in pixels, at most {_SIDE}")
    return (sides[0], sides[1] if len(sides) == 2 else None)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Options in which two exports differ, in words."""
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return [f"{option_of(name)} was {_said(old, name)}, now {_said(new, name)}" for name in changed]


def option_of(name: str) -> str:
    """How a user writes an option."""
    return _OPTION.get(name, "--" + name.replace("_", "-"))


_OPTION: Final = {"format": "--as", "encode": "--format", "certificate": "--sign"}


def _said(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name)
    return "not given" if value is None else repr(value)
