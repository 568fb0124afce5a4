"""Cells of a mapped file that one process writes and others read, whatever becomes of the writer.

A cell has two slots, written in turn, each with a number and a checksum: a process that is killed while it writes
leaves the other slot, and a reader in the midst of a write sees that too.
"""

import contextlib
import json
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_HEAD: Final = struct.Struct("<QII")  # number, length of the body, checksum over number and body


@dataclass(frozen=True, slots=True)
class Cell:
    """A place in the file that has one writer."""

    start: int
    room: int  # of one slot, head included

    @property
    def end(self) -> int:
        """Where the next cell may begin."""
        return self.start + 2 * self.room

    @property
    def longest(self) -> int:
        """Bytes of JSON that it can hold."""
        return self.room - _HEAD.size

    def read(self, data: bytes) -> tuple[int, Any]:
        """The newest whole slot: its number and what it says; (0, None) where there is none. Takes any bytes."""
        best: tuple[int, Any] = (0, None)
        for start in (self.start, self.start + self.room):
            if len(data) < start + self.room:
                continue
            number, length, checksum = _HEAD.unpack_from(data, start)
            body = data[start + _HEAD.size : start + _HEAD.size + length]
            if number <= best[0] or length > self.longest or checksum != _checksum(number, body):
                continue
            with contextlib.suppress(ValueError, RecursionError):
                best = (number, json.loads(body))
        return best

    def write(self, data: mmap.mmap, number: int, said: Any) -> None:
        """Overwrite one slot; `number` is one more than the last. Raises ValueError: too long."""
        body = json.dumps(said, separators=(",", ":")).encode()
        if len(body) > self.longest:
            raise ValueError(f"{len(body)} bytes in a cell of {self.longest}")
        start = self.start + number % 2 * self.room
        data[start : start + _HEAD.size + len(body)] = _HEAD.pack(number, len(body), _checksum(number, body)) + body


def map_file(path: Path, *, size: int) -> mmap.mmap:
    """Map a file for writing; one that is missing or of another size is made anew, full of zeros.

    Raises:
        OSError: The disk is full or read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.stat().st_size != size:
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with draft.open("wb") as file:
            file.write(bytes(size))  # real blocks: writing to a hole of a full disk would end the process
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), size)


def _checksum(number: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(number.to_bytes(8, "little")))
