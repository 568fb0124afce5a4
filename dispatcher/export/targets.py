"""Where an export goes: a folder, or a prefix of an S3 bucket.

Not an object store of the farm: names may hold capitals and begin with a dot (README.md, .farm/index.json), and what
lies there belongs to the user. A file is there whole or not at all.
"""

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final
from uuid import uuid4

from storage.errors import BlobMissing, DiskFull, UserError
from storage.settings import Settings

log = logging.getLogger(__name__)
DRAFTS: Final = ".farm/drafts"  # of a folder: files on their way; removed when an export starts and ends
_RULE: Final = "must be a folder or s3://bucket/prefix"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class TargetRefused(UserError):
    """An export cannot go there. Args: target, reason."""

    text = "--to {0}: {1}"


class Target(ABC):
    """Files under relative names with slashes. May be used from several threads at once."""

    address: str  # as the user wrote it

    @abstractmethod
    def put(self, name: str, data: bytes | Path, *, lasting: bool = True) -> None:
        """Store bytes or a copy of a file, whole or not at all; overwrites.

        Args:
            name: Of the file.
            data: What it is to hold.
            lasting: Whether it must survive a power cut from here on; thousands of small files need not wait for it.

        Raises:
            StoreAway: The bucket does not answer.
            DiskFull: No room.
        """

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Read a file. Raises BlobMissing, StoreAway."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none. Raises StoreAway."""

    @abstractmethod
    def list(self) -> Iterator[str]:
        """Names of all files, drafts left out, in order. Raises StoreAway, and TargetRefused for an impossible name."""

    @abstractmethod
    def sha256(self, name: str) -> str:
        """Hash of a file, read block by block. Raises BlobMissing, StoreAway."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises StoreAway."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the place. Raises TargetRefused: nothing can be written there. StoreAway."""

    @abstractmethod
    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the place for one export. Drafts go before and after: those of one that was cut off, too.

        Raises:
            TargetRefused: Another export works there. A bucket cannot tell.
        """

    @abstractmethod
    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A path for a file to be written to and then `take`n; removed afterwards."""

    @abstractmethod
    def take(self, name: str, draft: Path) -> None:
        """Store a finished draft; it is gone afterwards. Raises StoreAway, DiskFull."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file. Raises StoreAway."""
        return self.size(name) is not None


class FolderTarget(Target):
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = str(root)

    def put(self, name: str, data: bytes | Path, *, lasting: bool = True) -> None:
        """See `Target.put`."""
        with self.draft() as draft:
            if isinstance(data, Path):
                shutil.copyfile(data, draft)
            else:
                draft.write_bytes(data)
            self._place(name, draft, lasting=lasting)

    def get(self, name: str) -> bytes:
        """See `Target.get`."""
        with self._errors(name):
            return self._path(name).read_bytes()

    def size(self, name: str) -> int | None:
        """See `Target.size`."""
        path = self._path(name)
        with self._errors():
            return path.stat().st_size if path.is_file() else None

    def list(self) -> Iterator[str]:
        """See `Target.list`."""
        with self._errors():
            for folder, folders, files in os.walk(self.root):
                folders.sort()
                inside = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
                if str(inside) != DRAFTS:
                    yield from (str(inside / name) for name in sorted(files))

    def sha256(self, name: str) -> str:
        """See `Target.sha256`."""
        with self._errors(name), self._path(name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self, name: str) -> None:
        """See `Target.remove`."""
        with self._errors():
            self._path(name).unlink(missing_ok=True)

    def prepare(self) -> None:
        """See `Target.prepare`."""
        if self.root.exists() and not self.root.is_dir():
            raise TargetRefused(self.address, "is a file; must be a folder or s3://bucket/prefix")
        with self._errors():
            self.root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """See `Target.hold`. The lock is on the folder itself, so that nothing of it stays."""
        with self._errors():
            folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock(folder)
            self._sweep()
            try:
                yield
            finally:
                self._sweep()
        finally:
            os.close(folder)

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """See `Target.draft`. On the same volume, so that taking it is a rename."""
        path = self.root / DRAFTS / uuid4().hex
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)

    def take(self, name: str, draft: Path) -> None:
        """See `Target.take`."""
        self._place(name, draft, lasting=True)

    def _place(self, name: str, draft: Path, *, lasting: bool) -> None:
        path = self._path(name)
        with self._errors():
            if lasting:
                with draft.open("rb") as file:
                    os.fsync(file.fileno())  # the index counts on it after a power cut
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(path)

    def _sweep(self) -> None:
        shutil.rmtree(self.root / DRAFTS, ignore_errors=True)

    def _lock(self, folder: int) -> None:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TargetRefused(self.address, "another export works there; wait until it has ended") from None
        except OSError as error:
            log.warning("export folder not locked", extra={"folder": self.address, "why": str(error)})

    def _path(self, name: str) -> Path:
        return self.root / checked_name(name)

    @contextmanager
    def _errors(self, name: str | None = None) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if name is not None:
                raise BlobMissing(name, self.address) from None
            raise TargetRefused(self.address, "the folder was removed while files were written to it") from None
        except OSError as error:
            if error.errno in _FULL:
                raise DiskFull(self.address) from None
            raise TargetRefused(self.address, (error.strerror or str(error)).lower()) from None


def open_target(address: str, settings: Settings) -> Target:
    """The target that a user names. Nothing is touched or sent: `prepare` does that.

    Args:
        address: A folder, or s3://bucket/prefix on the farm's S3 server.
        settings: For that server.

    Raises:
        TargetRefused: It is neither.
    """
    if not address.strip() or "\0" in address:
        raise TargetRefused(repr(address), _RULE)
    if not address.startswith("s3://"):
        if "://" in address:
            raise TargetRefused(address, _RULE)
        try:
            return FolderTarget(Path(address).expanduser())
        except RuntimeError:
            raise TargetRefused(address, "there is no such user; a folder of that name is ./~...") from None
    bucket, _, prefix = address.removeprefix("s3://").strip("/").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise TargetRefused(address, _RULE)
    try:
        checked_name(f"{prefix}/x" if prefix else "x")
    except ValueError:
        raise TargetRefused(address, _RULE) from None
    from dispatcher.export.buckets import S3Target  # here, since boto3 is slow to load and only S3 needs it

    return S3Target(bucket, prefix=prefix, endpoint=settings.s3_endpoint, region=settings.s3_region)


def checked_name(name: str) -> str:
    """Return `name`, or raise ValueError: names are made by the farm, so a bad one is a bug."""
    parts = PurePosixPath(name).parts
    if not parts or name != "/".join(parts) or any(part in ("/", "..") or "\0" in part for part in parts):
        raise ValueError(f"name {name!r}: must be relative, with single slashes")
    return name
