"""The header of a safetensors file: names and shapes of its tensors, without reading a weight."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from storage.errors import ModelUnusable

_LIMIT: Final = 100_000_000  # bytes of header that the format allows


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
        missing = 8 + length + _end(entries) - file.stat().st_size
    except (OSError, struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelUnusable(source, f"{file.name} is no safetensors file ({type(error).__name__})") from None
    if missing > 0:
        raise ModelUnusable(source, f"{file.name} is cut short by {missing} bytes; fetch or copy it again")
    return header_of(entries)


def header_of(entries: Mapping[str, Any]) -> Header:
    """Make a header from its JSON."""
    shapes = {name: tuple(entry["shape"]) for name, entry in entries.items() if name != "__metadata__"}
    return Header(shapes, entries.get("__metadata__") or {})


def _end(entries: Mapping[str, Any]) -> int:
    """Bytes that the tensors reach to, counted from the end of the header."""
    return max((int(entry["data_offsets"][1]) for name, entry in entries.items() if name != "__metadata__"), default=0)
