"""A file that knows its hash and size when it is closed.

Hashing takes longer than writing, and neither holds Python's lock: both are done by a thread of the file, in blocks,
while the next samples are made.
"""

import hashlib
import os
import queue
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_BLOCK: Final = 4 * 2**20  # so large that waiting for Python's lock between two of them costs little
_WAITING: Final = 4  # blocks between the two threads


class HashedFile:
    """Written from front to back, once."""

    def __init__(self, path: Path) -> None:
        self.bytes = 0
        self.closed = False  # pyarrow asks
        self._file = path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self._parts: list[bytes] = []
        self._size = 0  # of the parts
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, name="export-hash", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sha256(self) -> str:
        """Of the whole file, once it is closed."""
        assert self.closed
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Append bytes. Raises OSError of this or an earlier write."""
        if self._error is not None:
            raise self._error
        part = bytes(data)  # of a picture the object itself; pyarrow gives buffers that it uses again
        self._parts.append(part)
        self._size += len(part)
        self.bytes += len(part)
        if self._size >= _BLOCK:
            self._hand_over()
        return len(part)

    def tell(self) -> int:
        """Where the next byte goes."""
        return self.bytes

    def flush(self) -> None:
        """Nothing: closing does."""

    def close(self) -> None:
        """Write the rest and close the file. Raises OSError if anything could not be written."""
        if self.closed:
            return
        self._hand_over()
        self._blocks.put(None)
        self._thread.join()
        self._file.close()
        self.closed = True
        if self._error is not None:
            raise self._error

    def writable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """No."""
        return False

    def seekable(self) -> bool:
        """No."""
        return False

    def _hand_over(self) -> None:
        self._blocks.put(b"".join(self._parts))
        self._parts, self._size = [], 0

    def _work(self) -> None:
        written = 0
        while (block := self._blocks.get()) is not None:
            if self._error is None:
                try:
                    self._hash.update(block)
                    rest = memoryview(block)
                    while rest:
                        rest = rest[self._file.write(rest) :]
                    _begin_to_sync(self._file.fileno(), written, len(block))
                except OSError as error:  # told by the next write; what still comes is dropped
                    self._error = error
                written += len(block)


def _begin_to_sync(file: int, start: int, size: int) -> None:
    """Have the disk take these bytes now, and wait for nothing: else it stands idle until the end, which waits.

    Linux does so on the advice that they are not needed; what is not on the disk yet stays in memory all the same.
    """
    if sys.platform == "linux":
        os.posix_fadvise(file, start, size, os.POSIX_FADV_DONTNEED)
