"""Which files a model is made of, and their digest. Without torch: hashing is the same for every renderer.

A model is its files: the digest goes over the sorted pairs of path and SHA-256 of all files that decide pixels, so a
copy in another folder, or of another day, is the same model.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from storage.spec import digest

SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".model"})  # ".model": sentencepiece vocabularies


class Hashes:
    """SHA-256 of files, remembered by path, size and time of change: in memory, and in a file over restarts."""

    def __init__(self, memory: Path | None) -> None:
        """Use `memory` (a JSON file; None: no file) for what was hashed by earlier processes."""
        self._memory = memory
        self._known: dict[str, str] = _read(memory)

    def digest_of(self, folder: Path, files: Iterable[Path]) -> str:
        """The digest of a model: "sha256:" and 64 hex digits."""
        pairs = sorted((file.relative_to(folder).as_posix(), self._hash(file)) for file in files)
        return f"sha256:{digest([list(pair) for pair in pairs])}"

    def _hash(self, file: Path) -> str:
        state = file.stat()
        key = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
        if key not in self._known:
            with file.open("rb") as data:
                self._known[key] = hashlib.file_digest(data, "sha256").hexdigest()
            self._keep()
        return self._known[key]

    def _keep(self) -> None:
        """Several workers of a host share the file; the last writer wins, which costs hashing, not truth."""
        if self._memory is None:
            return
        draft = self._memory.with_name(f"{self._memory.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({**_read(self._memory), **self._known}))
            draft.replace(self._memory)


def data_files(folder: Path) -> list[Path]:
    """Every file under `folder` that can decide pixels, hidden ones left out."""
    files = (file for file in sorted(folder.rglob("*")) if file.suffix in SUFFIXES and file.is_file())
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]


def _read(file: Path | None) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text()) if file else {}
        if isinstance(known, dict):
            return known
    return {}
