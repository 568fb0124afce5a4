"""The digest of a model. Without torch: hashing is the same for every renderer.

A model is its files: the digest goes over the sorted pairs of name and SHA-256 of all files that decide pixels, so a
copy in another folder, or of another day, is the same model.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from storage.spec import digest

SUFFIXES: Final = frozenset({".json", ".safetensors", ".txt", ".model"})  # ".model": sentencepiece vocabularies
BLOCK: Final = 8 * 2**20  # bytes read at a time

Tell = Callable[[int], None]  # so many bytes more are done


def digest_of(hashes: Mapping[str, str]) -> str:
    """The digest of a model, "sha256:" and 64 hex digits, from the SHA-256 of its files by name."""
    return f"sha256:{digest([list(pair) for pair in sorted(hashes.items())])}"


class Hashes:
    """SHA-256 of files, remembered by path, size and time of change: in memory, and in a file over restarts."""

    def __init__(self, memory: Path | None) -> None:
        """Use `memory` (a JSON file; None: no file) for what was hashed by earlier processes."""
        self._memory = memory
        self._known: dict[str, str] = _read(memory)

    def digest_of(self, files: Mapping[str, Path]) -> str:
        """The digest of a model, from its files by name."""
        return digest_of({name: self.of(file) for name, file in files.items()})

    def of(self, file: Path, *, tell: Tell | None = None) -> str:
        """SHA-256 of one file as hex digits; `tell` hears how many bytes were dealt with. Raises OSError."""
        key = _key(file)
        if key not in self._known:
            self._known[key] = hash_file(file, tell=tell)
            self._keep()
        elif tell is not None:
            tell(file.stat().st_size)
        return self._known[key]

    def remember(self, file: Path, sha256: str) -> None:
        """Take the word of somebody who has just read the whole file."""
        self._known[_key(file)] = sha256
        self._keep()

    def _keep(self) -> None:
        """Several workers of a host share the file; the last writer wins, which costs hashing, not truth."""
        if self._memory is None:
            return
        draft = self._memory.with_name(f"{self._memory.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({**_read(self._memory), **self._known}))
            draft.replace(self._memory)


def _key(file: Path) -> str:
    state = file.stat()
    return f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"


def hash_file(file: Path, *, tell: Tell | None = None) -> str:
    """SHA-256 of a file as hex digits, read block by block. Raises OSError."""
    found = hashlib.sha256()
    with file.open("rb") as data:
        while block := data.read(BLOCK):
            found.update(block)
            if tell is not None:
                tell(len(block))
    return found.hexdigest()


def data_files(folder: Path) -> dict[str, Path]:
    """Every file under `folder` that can decide pixels, by its name in the folder; hidden ones are left out."""
    files = (file for file in sorted(folder.rglob("*")) if file.suffix in SUFFIXES and file.is_file())
    named = {file.relative_to(folder).as_posix(): file for file in files}
    return {name: file for name, file in named.items() if not any(part.startswith(".") for part in name.split("/"))}


def _read(file: Path | None) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text()) if file else {}
        if isinstance(known, dict):
            return known
    return {}
