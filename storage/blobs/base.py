"""What every object store promises, and which keys it takes.

The promises are those of plain S3, so that a folder and a bucket can stand in for each other: objects are whole or
absent, the last writer of a key wins, and listings are in key order. Nothing here needs conditional writes, tags or
metadata, since S3 servers differ on those.

A store tells "there is none" from "I could not ask": the farm gives work out again on the first and waits on the
second.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

Tell = Callable[[int], None]  # so many bytes more are done
KEY_LIMIT: Final = 512  # characters; S3 allows 1024 bytes, of which a prefix in front may need some

# A part never begins with a dot: "." and ".." would walk about in a folder, and hidden names belong to the stores.
# File systems take 255 bytes per name; no capitals, since some of them cannot tell "A" from "a".
_KEY = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,254}(?:/[a-z0-9_-][a-z0-9._-]{0,254})*")


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What a listing tells of an object."""

    key: str
    size: int  # bytes
    modified: float  # Unix seconds on the store's clock, when it was last put


class BlobStore(ABC):
    """Bytes under keys. May be used from several threads at once.

    Every method may raise `StoreAway`, and `ValueError` for a key that `check_key` refuses. A key must not be the
    folder of another key ("a" beside "a/b"): S3 would hold both, a file system cannot.
    """

    address: str  # for people and messages, without secrets
    reads_at_once: ClassVar[int]  # with which large reads of many objects are fastest

    @abstractmethod
    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object, whole or not at all. Overwrites; safe to repeat.

        Raises:
            DiskFull: The folder's volume has no room.
        """

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Read an object.

        Raises:
            BlobMissing: The store answered, and has none.
        """

    @abstractmethod
    def put_file(self, key: str, path: Path, *, tell: Tell | None = None) -> None:
        """Store a file, whole or not at all, without reading all of it into memory. Overwrites; safe to repeat.

        Args:
            key: Of the object.
            path: Of the file.
            tell: Hears how many bytes more are stored.

        Raises:
            DiskFull: The folder's volume has no room.
            OSError: The file cannot be read.
        """

    @abstractmethod
    def get_file(self, key: str, path: Path, *, tell: Tell | None = None) -> None:
        """Read an object into a file, going on behind the bytes that the file holds already.

        Args:
            key: Of an object that never changes: the caller checks the bytes.
            path: Of the file; one that is longer than the object is begun anew. Nobody may write to it later: a
                folder on the same volume links the file instead of copying it.
            tell: Hears how many bytes more are there, those that the file held already included.

        Raises:
            BlobMissing: The store answered, and has none.
            DiskFull: The volume of `path` has no room.
            StoreAway: What came so far stays in the file.
            OSError: `path` cannot be written.
        """

    @abstractmethod
    def head(self, key: str) -> BlobInfo | None:
        """Size and time of an object; None if the store answered and has none."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Objects whose key begins with `prefix`, in ascending key order, read page by page.

        A prefix is a string and no folder: "jobs/1" finds "jobs/12/a" too. Names that are no legal keys, such as a
        file that somebody put there by hand, are passed over. Objects that come or go meanwhile may or may not show.
        """

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are missing are fine. After an error some may be gone: repeat."""

    @abstractmethod
    def locate(self, key: str) -> str:
        """Where a person finds an object: a path, or s3://bucket/key."""

    @abstractmethod
    def check(self, *, create: bool = True) -> None:
        """Raise `StoreAway` unless the store is there; with `create`, make it and try a write.

        Create at a start only. A probe while the farm runs passes False: a volume that came unmounted would
        otherwise be replaced by an empty folder, in which everything is missing.
        """


def is_key(text: str) -> bool:
    """Whether `text` is a legal key: parts of [a-z0-9._-], none starting with a dot, joined by single slashes."""
    return len(text) <= KEY_LIMIT and _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """Return `key`, or raise `ValueError`: keys are made by the farm, so a bad one is a bug."""
    if not is_key(key):
        raise ValueError(
            f"key {key!r}: must be parts of [a-z0-9._-] that do not start with a dot, joined by '/', "
            f"at most 255 characters each and {KEY_LIMIT} in all"
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix`, or raise `ValueError` unless it is empty or some legal key could begin with it."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix
