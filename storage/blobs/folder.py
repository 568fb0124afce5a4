"""An object store that is a folder on this machine, or on a share that all machines mount.

A write goes to a temporary file, reaches the disk, and is then renamed: a reader sees the old bytes or the new ones,
and a crash leaves at most a temporary file. Those lie in a hidden folder `.tmp`, on the same volume, which listings
never show. That folder is also the sign that this is the store: when it is gone, the volume is not mounted, and the
store is away rather than empty.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from storage.blobs.base import BlobInfo, BlobStore, Tell, check_key, check_prefix, is_key
from storage.blobs.files import copy_blocks, resume_at
from storage.errors import BlobMissing, DiskFull, StoreAway

TEMPORARY: Final = ".tmp"
STALE_S: Final = 24 * 3600.0  # far above any single write, and any clock difference on a network share
PLACE_TRIES: Final = 16  # each is lost only if a delete prunes the folder within microseconds

# EFBIG: a limit of the file system or process on file size; for the farm the same as no room.
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A delete has pruned the folder already; or a share that cannot flush folders, and so promises no more.
_UNSYNCED: Final = {errno.ENOENT, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_ABSENT: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FolderStore(BlobStore):
    """Objects as plain files: the key is the path under the root."""

    reads_at_once = 4  # a disk answers at once; more threads get in each other's way

    def __init__(self, root: Path) -> None:
        """Name the folder; nothing is touched until `check` or the first use."""
        self.root = root
        self.address = str(root)
        self._temporary = root / TEMPORARY

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """See `BlobStore.put`. A file has no content type; the key's ending must tell."""
        del content_type
        self._put(key, lambda file: file.write(data))

    def put_file(self, key: str, path: Path, *, tell: Tell | None = None) -> None:
        """See `BlobStore.put_file`."""
        with path.open("rb") as source:
            self._put(key, lambda file: copy_blocks(source, file, tell))

    def get(self, key: str) -> bytes:
        """See `BlobStore.get`."""
        path = self._path(key)
        with self._system_errors(path):
            try:
                return path.read_bytes()
            except _ABSENT:
                self._require_root()
                raise BlobMissing(key, self.address) from None

    def get_file(self, key: str, path: Path, *, tell: Tell | None = None) -> None:
        """See `BlobStore.get_file`."""
        blob = self._path(key)
        info = self.head(key)
        if info is None:
            raise BlobMissing(key, self.address)
        try:
            if not _link(blob, path):
                with self._system_errors(blob):
                    source = blob.open("rb")
                with source, path.open("ab") as file:
                    source.seek(resume_at(file, info.size, tell))
                    copy_blocks(source, file, tell)
            elif tell is not None:
                tell(info.size)
        except OSError as error:
            if error.errno in _FULL:
                raise DiskFull(str(path)) from error
            raise

    def head(self, key: str) -> BlobInfo | None:
        """See `BlobStore.head`."""
        path = self._path(key)
        with self._system_errors(path):
            try:
                found = path.stat()
            except _ABSENT:
                self._require_root()
                return None
        return BlobInfo(key, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore.list`. Memory grows with the largest folder, not with the store."""
        folder, _, start = check_prefix(prefix).rpartition("/")
        return self._walk(folder, start)

    def delete(self, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`. Folders that become empty go too."""
        for key in keys:
            path = self._path(key)
            with self._system_errors(path):
                try:
                    path.unlink()
                except _ABSENT:
                    self._require_root()
                self._prune(path.parent)

    def locate(self, key: str) -> str:
        """See `BlobStore.locate`."""
        return str(self._path(key))

    def check(self, *, create: bool = True) -> None:
        """See `BlobStore.check`. With `create`, sweeps away what writers that were killed left."""
        with self._system_errors(self.root):
            if create:
                self._temporary.mkdir(parents=True, exist_ok=True)
                self._sweep()
                self._write_draft(lambda file: file.write(b"room for one more")).unlink()
            self._require_root()

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _put(self, key: str, write: Callable[[BinaryIO], object]) -> None:
        path = self._path(key)
        with self._system_errors(path):
            draft = self._write_draft(write)
            try:
                self._place(draft, path)
            except (NotADirectoryError, IsADirectoryError, FileExistsError):
                raise ValueError(f"key {key!r}: is the folder of another key, or lies under one") from None
            finally:
                draft.unlink(missing_ok=True)

    def _write_draft(self, write: Callable[[BinaryIO], object]) -> Path:
        draft = self._temporary / uuid4().hex
        try:
            with draft.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        except FileNotFoundError:
            self._require_root()
            raise
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return draft

    def _place(self, draft: Path, path: Path) -> None:
        for left in reversed(range(PLACE_TRIES)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                draft.replace(path)
            except (FileNotFoundError, FileExistsError):  # a delete pruned the folder in between
                self._require_root()
                if not left:
                    raise
            else:
                break
        _sync_folder(path.parent)

    def _prune(self, folder: Path) -> None:
        while folder != self.root:
            try:
                folder.rmdir()  # refuses a folder that is in use: nothing can be lost
            except OSError:
                return
            folder = folder.parent

    def _sweep(self) -> None:
        oldest = time.time() - STALE_S
        for draft in self._temporary.iterdir():
            with suppress(FileNotFoundError):
                if draft.stat().st_mtime < oldest:
                    draft.unlink()

    def _walk(self, folder: str, start: str) -> Iterator[BlobInfo]:
        base = f"{folder}/" if folder else ""
        for name, is_folder in self._entries(folder, start):
            key = base + name
            if is_folder:
                yield from self._walk(key, "")
            elif (info := self.head(key)) is not None:
                yield info

    def _entries(self, folder: str, start: str) -> Sequence[tuple[str, bool]]:
        base = f"{folder}/" if folder else ""
        with self._system_errors(self.root / folder):
            self._require_root()
            try:
                with os.scandir(self.root / folder) as found:
                    entries = [
                        (each.name, each.is_dir())
                        for each in found
                        if each.name.startswith(start) and is_key(base + each.name)
                    ]
            except _ABSENT:
                self._require_root()
                return []
        # The keys of a folder go on with "/": as in S3, "a.b" comes before "a/b", and "a0" after it.
        return sorted(entries, key=lambda entry: entry[0] + "/" * entry[1])

    def _require_root(self) -> None:
        if not self._temporary.is_dir():
            raise StoreAway(self.address, f"no folder {TEMPORARY!r} in it: removed, not mounted, or never set up")

    @contextmanager
    def _system_errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise DiskFull(str(path)) from error
            raise StoreAway(self.address, error.strerror or str(error)) from error


def _link(blob: Path, path: Path) -> bool:
    """Make `path` another name of the object's file, where it is free and the volume is the same."""
    try:
        path.hardlink_to(blob)
    except OSError:  # another volume, a file system without links, a file that was begun
        return False
    return True


def _sync_folder(folder: Path) -> None:
    # Without it a power cut may take back a rename that SQL already counts on.
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise
