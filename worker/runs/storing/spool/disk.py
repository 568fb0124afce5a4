"""The files of a spool: a folder for each run, its images first, its manifest last.

A file appears whole or not at all (written aside, synced, renamed), and a manifest appears only when every image that
it names is in the store or lies beside it. So whatever moment the power goes: a folder with a manifest can be sent,
and a folder without one is a run that the dispatcher will have rendered again. What cannot be trusted is deleted, for
the same reason.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from storage.blobs.base import is_key
from storage.errors import DiskFull
from storage.wire import keys
from storage.wire.messages import AttemptName, Manifest

log = logging.getLogger(__name__)

MANIFEST: Final = "manifest.json"
_LOCK: Final = ".lock"
_DRAFT: Final = ".draft-"
_RUN: Final = re.compile(r"[0-9a-z]{10}")  # as keys.new_id makes them


@dataclass(frozen=True, slots=True)
class SpooledRun:
    """A run that lies whole in the spool."""

    id: str
    name: AttemptName
    prefix: str  # of its keys in the store
    hashes: Mapping[str, str]  # of its images, by the name of the file


def spooled_run(manifest: Manifest) -> SpooledRun:
    """What is to be known of a run. Raises ValueError: its manifest leads out of the run's own prefix."""
    prefix = keys.run_prefix(manifest.job, manifest.chunk, manifest.attempt, manifest.run)
    if not is_key(keys.manifest_key(prefix)) or not all(made.key.startswith(prefix) for made in manifest.images):
        raise ValueError("it names keys that are not its own")
    name = AttemptName(job=manifest.job, chunk=manifest.chunk, attempt=manifest.attempt)
    hashes = {made.key.removeprefix(prefix): made.sha256 for made in manifest.images}
    return SpooledRun(manifest.run, name, prefix, hashes)


class Disk:
    """The spool folder of one node. Used by the upload threads and the uploader at once."""

    def __init__(self, folder: Path, *, cap: int) -> None:
        """Name the folder, and how many bytes of images it may hold; nothing is touched until `open`."""
        self.folder = folder
        self.held = 0  # bytes
        self._cap = cap
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._says = logging.WARNING

    @property
    def is_open(self) -> bool:
        """Whether the folder is ours."""
        return self._handle is not None

    def open(self) -> list[SpooledRun] | None:
        """Take the folder for this process, and look at what an earlier one left there.

        Returns:
            The runs to send, the oldest first; None: another process has the folder, or it cannot be used.
        """
        handle = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = self._find()
            self._handle = handle
        except OSError as error:
            log.log(self._says, "no spool", extra={"folder": self.folder, "reason": error})
            self._says = logging.DEBUG  # it is tried every second
            return None
        finally:
            if handle is not None and self._handle is None:
                os.close(handle)
        return found

    def close(self) -> None:
        """Leave the folder to the next process."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def write(self, run: str, name: str, data: bytes) -> None:
        """Keep one object of a run; a manifest only after all else. Manifests are kept however full the spool is.

        Raises:
            DiskFull: The spool or its volume is full, or cannot be used.
        """
        folder = self._folder(run, name)
        if self._handle is None or not self._reserve(len(data), always=name == MANIFEST and self._cap > 0):
            raise DiskFull(str(folder))
        try:
            with self._lock:
                if not folder.is_dir():
                    folder.mkdir()
                    _sync(self.folder)
            _place(folder, name, data)
        except OSError as error:
            self._release(len(data))
            raise DiskFull(str(folder)) from error

    def files(self, run: SpooledRun) -> list[str]:
        """Names of what is left of a run, the manifest last. Raises OSError."""
        names = [file.name for file in (self.folder / run.id).iterdir() if _is_plain(file)]
        return sorted(names, key=lambda name: (name == MANIFEST, name))

    def read(self, run: SpooledRun, name: str) -> bytes:
        """One file. Raises OSError, or ValueError if it holds other bytes than the manifest says."""
        handle = os.open(self.folder / run.id / name, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            data = file.read()
        if name in run.hashes and hashlib.sha256(data).hexdigest() != run.hashes[name]:
            raise ValueError(f"{name} has other bytes than its manifest says")
        return data

    def drop(self, run: SpooledRun, name: str) -> None:
        """Delete a file that the store has. Raises OSError."""
        path = self.folder / run.id / name
        size = path.lstat().st_size
        path.unlink()
        self._release(size)

    def is_empty(self, run: str) -> bool:
        """Whether nothing of a run lies here."""
        return not any((self.folder / run).glob("[!.]*"))

    def remove(self, run: str) -> None:
        """Delete what is left of a run, its manifest first: what remains after a crash is no whole run then."""
        folder = self.folder / run
        with contextlib.suppress(OSError):
            for file in sorted(folder.iterdir(), key=lambda file: file.name != MANIFEST):
                size = file.lstat().st_size
                file.unlink()
                self._release(size)
            folder.rmdir()

    def _find(self) -> list[SpooledRun]:
        whole: list[tuple[float, SpooledRun]] = []
        self.held = 0
        for entry in self.folder.iterdir():
            if not _RUN.fullmatch(entry.name) or entry.is_symlink() or not entry.is_dir():
                continue
            try:
                whole.append(self._look(entry.name))
            except FileNotFoundError:
                log.info("a run that did not end left the spool", extra={"run": entry.name})
                self.remove(entry.name)
            except ValueError as error:
                log.error("a run in the spool cannot be sent", extra={"run": entry.name, "reason": error})
                self.remove(entry.name)
            except OSError as error:  # the disk's fault, and not for ever
                log.error("a run in the spool cannot be read", extra={"run": entry.name, "reason": error})
        self.held = sum(file.lstat().st_size for _, run in whole for file in (self.folder / run.id).iterdir())
        return [run for _, run in sorted(whole, key=lambda each: each[0])]

    def _look(self, run: str) -> tuple[float, SpooledRun]:
        """When a run ended and what it is. Raises FileNotFoundError: it did not; ValueError: it breaks the rules."""
        folder = self.folder / run
        for draft in folder.glob(f"{_DRAFT}*"):
            draft.unlink()
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        if manifest.run != run:
            raise ValueError("its manifest is that of another run")
        return manifest.finished, spooled_run(manifest)

    def _folder(self, run: str, name: str) -> Path:
        if not _RUN.fullmatch(run) or "/" in name or not is_key(name):
            raise ValueError(f"{run}/{name}: is no object of a run")
        return self.folder / run

    def _reserve(self, size: int, *, always: bool) -> bool:
        with self._lock:
            if not always and self.held + size > self._cap:
                return False
            self.held += size
            return True

    def _release(self, size: int) -> None:
        with self._lock:
            self.held = max(0, self.held - size)


def _is_plain(file: Path) -> bool:
    return is_key(file.name) and file.is_file() and not file.is_symlink()


def _place(folder: Path, name: str, data: bytes) -> None:
    draft = folder / f"{_DRAFT}{uuid4().hex}"
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(folder / name)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _sync(folder)


def _sync(folder: Path) -> None:
    """A folder's names reach the disk. A volume that cannot promise that promises no more."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(handle)
