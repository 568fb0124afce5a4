"""Readable file names from a pattern such as {number:06}_{scheduler}_{seed}. Pure."""

import re
import string
from collections.abc import Iterable
from pathlib import Path

from storage.errors import InvalidSpec, nearest
from storage.pictures import SUFFIXES
from storage.spec.fields import FIELDS
from storage.spec.number import place_of, take_of
from storage.sql.images import ImageRow

DEFAULT_PATTERN = "{number:06}_{scheduler}_{seed}"
_SAME = {"jpeg": "jpg"}
MAX_PART_BYTES = 80  # of UTF-8; file systems take 255 for a whole name
_COLUMNS = ("number", "prompt", "negative_prompt", "seed", "scheduler", "steps", "guidance_scale", "width", "height",
            "model", "worker", "sha256")  # fmt: skip


def file_name(pattern: str, row: ImageRow) -> str:
    """Fill in a pattern for one image; its fields are recipe keys, labels, number, worker and sha256.

    A recipe key of which the job says nothing is "none". Slashes in the pattern make folders; whatever a value holds
    becomes one harmless part of a name. The suffix is the picture's own, whether the pattern has one of pictures, none,
    or one of another format.

    Raises:
        InvalidSpec: An unknown field, or a format that does not fit it.
    """
    values: dict[str, object] = dict.fromkeys(FIELDS)
    values |= {**row.options, **{name: getattr(row, name) for name in _COLUMNS}, **row.labels}
    safe = {name: _safe(value) for name, value in values.items()} | {"number": _Number(row.number)}
    try:
        name = string.Formatter().vformat(pattern, (), _Known(safe))
    except (ValueError, AttributeError, IndexError, TypeError, MemoryError, OverflowError) as error:
        raise InvalidSpec("--name", pattern, f"not a name pattern: {error or 'it asks for too many places'}") from None
    if "\0" in name:
        raise InvalidSpec("--name", pattern, "must not hold a NUL character")
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    if not parts:
        raise InvalidSpec("--name", pattern, "must give a name")
    return _with_suffix("/".join(parts), row.key)


def check_pattern(pattern: str, *, labels: Iterable[str], but: Iterable[str] = ()) -> None:
    """Refuse a pattern that fits no image, before there is one.

    Args:
        pattern: What is to be filled in.
        labels: That images have.
        but: Fields that are not to be had, unless a label is called so.

    Raises:
        InvalidSpec: An unknown field, or no pattern.
    """
    known = _Known(dict.fromkeys([*sorted({*FIELDS, *_COLUMNS} - {*but}), *labels]))
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise InvalidSpec("--name", pattern, f"not a name pattern: {error}") from None
    for _, field, spec, _ in parts:
        if field is not None:
            _ = known[re.split(r"[.\[]", field)[0]]
            check_pattern(spec or "", labels=labels, but=but)


def _with_suffix(name: str, key: str | None) -> str:
    kind = Path(key or "").suffix
    stem, dot, said = name.rpartition(".")
    if not kind or (dot and _SAME.get(said.lower(), said.lower()) == kind.removeprefix(".")):
        return name
    return (stem if dot and stem and f".{said.lower()}" in SUFFIXES else name) + kind


class _Number(int):
    """A take has the number of its image, and its own behind it: 000012-2."""

    def __format__(self, spec: str) -> str:
        take = take_of(self)
        return format(place_of(self), spec) + (f"-{take}" if take else "")

    def __repr__(self) -> str:
        return format(self, "")


class _Known(dict[str, object]):
    def __missing__(self, name: str) -> object:
        raise InvalidSpec("--name", f"{{{name}}}", f"unknown field; {nearest(name, self)}")


def _safe(value: object) -> object:
    if isinstance(value, int | float):
        return value
    text = "none" if value is None else str(value)
    clean = re.sub(r"[^\w.+=-]+", "-", text).strip("-.").encode()[:MAX_PART_BYTES].decode(errors="ignore")
    return clean or "empty"
