"""The pictures that a job starts from: found, looked at, hashed. They travel by hash, not by name.

Everything that could stop a worker hours later is looked for here: every picture is read to its end once. No pixels
and no bytes are kept, so a hundred thousand pictures are as many lines of facts.
"""

import hashlib
import os
import re
import shutil
import stat
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from storage.errors import InvalidSpec, UnreadableFile, shorten
from storage.spec.file.allowed import Allowed
from storage.spec.file.jobfile import FolderSource, GlobSource
from storage.spec.file.remote import ADDRESS, Refused, fetch

if TYPE_CHECKING:
    from storage.pictures import PictureFacts

SHOWN: Final = 200  # characters of a name in a message: the end of a path tells the file
READERS: Final = 4  # threads: each may hold a whole picture
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Files(dict[str, str]):
    """Where each picture lies on this machine, by hash. What was fetched for it goes when it goes."""

    def __init__(self) -> None:
        super().__init__()
        self._folder: Path | None = None

    def keep(self, name: str, data: bytes) -> str:
        """Write a picture that is nowhere on this machine; returns its path."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="seedfarm-inputs-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        file = self._folder / name
        file.write_bytes(data)
        return str(file)


class InputImages:
    """The input images of one job file."""

    def __init__(self, base: Path, allowed: Allowed) -> None:
        """Find files relative to `base`."""
        self._base = base
        self._allowed = allowed
        self._taken: dict[str, str] = {}  # hash by name as given: a table may name one picture in many rows
        self.facts: dict[str, dict[str, Any]] = {}  # by hash: name, width, height, bytes, format
        self.files = Files()

    def take(self, given: object, *, path: str) -> str:
        """One picture: its hash, "sha256:" and 64 hex digits.

        Args:
            given: A file, an https:// address of an allowed host, or the hash of a picture that was put before.
            path: Where it stands in the job file.

        Raises:
            InvalidSpec: It is none of these.
            UnreadableFile: It is no picture that the farm takes.
        """
        if not isinstance(given, str) or not given:
            raise InvalidSpec(path, given, "must be text: a file, an https:// address, or sha256:... of 'farm put'")
        if given not in self._taken:
            self._taken[given] = self._take(given, path)
        return self._taken[given]

    def take_all(self, source: FolderSource | GlobSource, *, path: str) -> list[Any]:
        """Every picture of a folder or pattern, in order. Raises InvalidSpec, UnreadableFile."""
        return self.take_files(self.find(source, path=path), path=path)

    def take_files(self, files: Sequence[Path], *, path: str) -> list[str]:
        """The hash of each of these files. Raises UnreadableFile."""
        hashes, left = [], iter(files)
        with ThreadPoolExecutor(READERS, thread_name_prefix="inputs") as pool:
            while block := list(islice(left, 16 * READERS)):
                looked = pool.map(lambda file: self._look(file, path=path, given=str(file)), block)
                hashes += [self._keep(found, facts, file) for (found, facts), file in zip(looked, block, strict=True)]
        return hashes

    def find(self, source: FolderSource | GlobSource, *, path: str) -> list[Path]:
        """The picture files of a folder or pattern: by suffix, hidden ones left out, img2 before img10.

        Raises:
            InvalidSpec: There are none.
            UnreadableFile: The folder cannot be read.
        """
        text = source.folder if isinstance(source, FolderSource) else source.glob
        try:
            found = list(self._place(text).iterdir()) if isinstance(source, FolderSource) else self._matches(text)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a ~user who is not there
            raise _unreadable(path, text, _reason(error)) from None
        pictures = [file for file in found if _is_picture(file)]
        if not pictures:
            from storage.pictures import FORMATS

            raise InvalidSpec(path, source.model_dump(), f"holds no {FORMATS} files; looked from {str(self._base)!r}")
        return sorted(pictures, key=lambda file: [natural(part) for part in file.parts])

    def _take(self, given: str, path: str) -> str:
        if _HASH.fullmatch(given):
            self.facts.setdefault(given, {"name": given})
            return given
        if ADDRESS.fullmatch(given):
            return self._take_remote(given, path)
        try:
            file = self._place(given)
        except (ValueError, RuntimeError) as error:
            raise _unreadable(path, given, _reason(error)) from None
        return self._keep(*self._look(file, path=path, given=given), file)

    def _take_remote(self, address: str, path: str) -> str:
        try:
            data = fetch(address, hosts=self._allowed.input_hosts, max_bytes=self._allowed.input_bytes)
        except Refused as refusal:
            raise _unreadable(path, address, str(refusal)) from None
        found, facts = self._examine(data, path=path, given=address)
        if found not in self.files:
            self.files[found] = self.files.keep(found.removeprefix("sha256:"), data)
        return self._note(found, facts, name=address.partition("?")[0].rstrip("/").rpartition("/")[2])

    def _look(self, file: Path, *, path: str, given: str) -> tuple[str, dict[str, Any]]:
        """Read one file: its hash and facts. Called by several threads."""
        try:
            data = _read(file, self._allowed.input_bytes)
        except (OSError, ValueError) as error:
            looked = "" if str(file) == given else f" (looked at {shorten(str(file), limit=SHOWN)})"
            raise _unreadable(path, given, f"{_reason(error)}{looked}") from None
        return self._examine(data, path=path, given=given)

    def _examine(self, data: bytes, *, path: str, given: str) -> tuple[str, dict[str, Any]]:
        from storage.pictures import NotAPicture, examine

        try:
            seen: PictureFacts = examine(data, max_pixels=self._allowed.input_pixels)
        except NotAPicture as error:
            raise _unreadable(path, given, str(error)) from None
        facts = {"width": seen.width, "height": seen.height, "bytes": len(data), "format": seen.format}
        return f"sha256:{hashlib.sha256(data).hexdigest()}", facts

    def _keep(self, found: str, facts: dict[str, Any], file: Path) -> str:
        self.files.setdefault(found, str(file))
        return self._note(found, facts, name=file.name)

    def _note(self, found: str, facts: dict[str, Any], *, name: str) -> str:
        if "bytes" not in self.facts.get(found, ()):  # by its hash alone it may have been named before
            storable = name.encode("utf-8", "replace").decode()  # a file may be called what no text can hold
            self.facts[found] = {"name": storable, **facts}
        return found

    def _place(self, given: str) -> Path:
        return self._base / Path(given).expanduser()

    def _matches(self, given: str) -> list[Path]:
        """What a pattern matches. ** follows no links to folders, so there is no going in circles."""
        pattern = Path(given).expanduser()
        if not pattern.name:
            raise ValueError("must be a pattern such as pictures/*.png")
        root = Path(pattern.anchor) if pattern.is_absolute() else self._base
        return list(root.glob(str(pattern.relative_to(pattern.anchor))))


def _is_picture(file: Path) -> bool:
    from storage.pictures import SUFFIXES

    return not file.name.startswith(".") and file.suffix.lower() in SUFFIXES and not os.path.isdir(file)  # noqa: PTH112  # Path.is_dir raises on a ring of links


def _read(file: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file. Raises OSError, ValueError with the rule."""
    found = file.stat()
    if stat.S_ISDIR(found.st_mode):
        raise ValueError("is a folder; pictures of a folder are an axis, {folder: ...}")
    if not stat.S_ISREG(found.st_mode):  # a pipe or a device may have no end
        raise ValueError("is no ordinary file")
    with file.open("rb") as handle:
        data = handle.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"has {found.st_size} bytes, and {max_bytes} are taken (FARM_INPUT_BYTES); make it smaller")
    return data


def _unreadable(path: str, given: str, reason: str) -> UnreadableFile:
    return UnreadableFile(f"{path} = {shorten(given, limit=SHOWN)}", reason)


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]


def natural(name: str) -> tuple[list[str | int], str]:
    """Orders names as people count: runs of digits by their value."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
