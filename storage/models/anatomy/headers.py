"""The header of a safetensors file: names and shapes of its tensors, without reading a weight."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from storage.errors import ModelUnusable

_LIMIT: Final = 25_000_000  # bytes of header; the format allows four times that, and no model comes near
_METADATA: Final = "__metadata__"
_BROKEN: Final = (OSError, struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    def has(self, *parts: str) -> bool:
        """Whether some tensor's name holds one of these."""
        return any(part in name for name in self.shapes for part in parts)

    def width(self, *endings: str) -> int | None:
        """The last side of the first tensor whose name ends with one of these; None: there is none."""
        for name in sorted(self.shapes):
            if name.endswith(endings) and self.shapes[name]:
                return self.shapes[name][-1]
        return None


def read_header(file: Path, *, source: str) -> Header:
    """Read the header and hold it against the size of the file.

    Raises:
        ModelUnusable: Not a safetensors file, or one that is cut short.
    """
    try:
        with file.open("rb") as data:
            (length,) = struct.unpack("<Q", data.read(8))
            entries: dict[str, Any] = json.loads(data.read(min(length, _LIMIT)))
        end = _end(entries)
        found = header_of(entries)
    except _BROKEN as error:
        raise ModelUnusable(source, f"{file.name} is no safetensors file ({type(error).__name__})") from None
    left = file.stat().st_size - (8 + length + end)
    if left < 0:
        raise ModelUnusable(source, f"{file.name} is cut short by {-left} bytes; fetch or copy it again")
    if left > 0:
        raise ModelUnusable(source, f"{file.name} has {left} bytes behind its tensors; fetch or copy it again")
    return found


def header_of(entries: Mapping[str, Any]) -> Header:
    """Make a header from its JSON. Raises ValueError, TypeError, KeyError: it is none."""
    shapes = {name: _shape(entry["shape"]) for name, entry in entries.items() if name != _METADATA}
    metadata = entries.get(_METADATA) or {}
    return Header(shapes, {name: text for name, text in metadata.items() if isinstance(text, str)})


def _shape(sides: list[Any]) -> tuple[int, ...]:
    return tuple(_count(side) for side in sides)


def _end(entries: Mapping[str, Any]) -> int:
    """Bytes that the tensors fill, counted from the end of the header. Raises ValueError."""
    spans = [entry["data_offsets"] for name, entry in entries.items() if name != _METADATA]
    end = 0
    for first, last in sorted((_count(first), _count(last)) for first, last in spans):
        if first != end or last < first:
            raise ValueError("tensors overlap, or leave holes")
        end = last
    return end


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("no count")
    return value
