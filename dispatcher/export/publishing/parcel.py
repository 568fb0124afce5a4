"""The files of an export that is to be published, checked before anything is sent."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dispatcher.export.card.finishing import README
from dispatcher.export.card.licences import NOTES
from dispatcher.export.card.sums import SUMS, read_sums
from dispatcher.export.index import INDEX, Index, IndexRefused
from dispatcher.export.targets import FolderTarget
from dispatcher.wording import human
from storage.errors import UserError

MAX_FILES: Final = 100_000  # of a repository, as the hub advises
MAX_ENTRIES: Final = 10_000  # of a folder, which the hub enforces
MAX_BYTES: Final = 50 * 10**9  # of a file
_FRONT: Final = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_EDITED: Final = (README, NOTES)  # by people, who decide on a licence
_SPARED: Final = (".git/", ".cache/")  # not ours, and never sent


class NotPublishable(UserError):
    """A folder cannot be published as it is. Args: folder, reason."""

    text = "{0}: {1}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """An export that may be published."""

    root: Path
    index: Index
    entries: Sequence[Entry]  # by name

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(entry.bytes for entry in self.entries)


def pack(root: Path) -> Parcel:
    """Look at an export and read every file of it once.

    Raises:
        NotPublishable: It is no finished export, its files are not those that it was made with, its card would be
            refused, or it is larger than what the hub takes.
    """
    if not root.is_dir():
        raise NotPublishable(root, "must be a folder that 'farm export' wrote")
    index = _index(root)
    entries = list(_entries(root))
    _check_sizes(root, entries)
    check_front(root, (root / README).read_text(errors="replace"), names=[entry.name for entry in entries])
    _check_hashes(root, entries)
    return Parcel(root=root, index=index, entries=entries)


def _index(root: Path) -> Index:
    for name in (INDEX, SUMS, README):
        if not (root / name).is_file():
            raise NotPublishable(root, f"has no {name}; only a finished export can be published: repeat 'farm export'")
    try:
        index = Index.decode((root / INDEX).read_bytes(), place=INDEX)
    except IndexRefused as error:
        raise NotPublishable(root / INDEX, f"{error.args[1]}; export to an empty folder") from None
    if not index.complete:
        raise NotPublishable(root, "the export is not finished; give the same 'farm export' again")
    return index


def _entries(root: Path) -> Iterator[Entry]:
    """Every file with the hash that SHA256SUMS tells of it; that one with its own."""
    sums = (root / SUMS).read_bytes()
    try:
        told = dict(read_sums(sums.decode()))
    except ValueError as error:
        raise NotPublishable(root / SUMS, str(error)) from None
    told[SUMS] = hashlib.sha256(sums).hexdigest()
    names = sorted(name for name in FolderTarget(root).list() if not name.startswith(_SPARED))
    lost = sorted(told.keys() - set(names))
    if lost:
        raise NotPublishable(root, f"{_some(lost)} missing; give the same 'farm export' again")
    strangers = sorted(set(names) - told.keys())
    if strangers:
        raise NotPublishable(root, f"{_some(strangers)} not in {SUMS}; remove what is not of the export")
    for name in names:
        if (root / name).is_symlink():
            raise NotPublishable(root / name, "is a link; a data set holds files only")
        yield Entry(name=name, bytes=(root / name).stat().st_size, sha256=told[name])


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{shown} {'is' if len(names) == 1 else 'are'}"


def _check_sizes(root: Path, entries: Sequence[Entry]) -> None:
    if len(entries) > MAX_FILES:
        raise NotPublishable(root, f"{len(entries):,} files: the hub takes {MAX_FILES:,}; {_SHARDS}")
    folders = Counter(str(PurePosixPath(entry.name).parent) for entry in entries)
    folder, count = folders.most_common(1)[0]
    if count > MAX_ENTRIES:
        raise NotPublishable(root / folder, f"{count:,} files in one folder: the hub takes {MAX_ENTRIES:,}; {_SHARDS}")
    for entry in entries:
        if entry.bytes > MAX_BYTES:
            rule = f"{human(entry.bytes)}: must be at most {human(MAX_BYTES)}; export with fewer --shard-images"
            raise NotPublishable(root / entry.name, rule)


_SHARDS: Final = "export as webdataset or parquet"


def check_front(root: Path, text: str, *, names: Sequence[str]) -> None:
    """Check the front matter of a card: that it is YAML and that each split finds files. Raises NotPublishable."""
    import yaml

    found, file = _FRONT.match(text), root / README
    if found is None:
        raise NotPublishable(file, "must begin with a line '---', YAML and a line '---'")
    try:
        front = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise NotPublishable(file, f"its front matter is no YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(front, dict) or not front.get("license"):
        raise NotPublishable(file, "its front matter must say license:")
    for split, pattern in _patterns(front):
        if not any(fnmatch(name, pattern.replace("**/", "*")) for name in names):
            raise NotPublishable(file, f"configs: split {split!r} finds no file with {pattern!r}")


def _patterns(front: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for config in front.get("configs") or []:
        for files in config.get("data_files") or []:
            paths = files["path"] if isinstance(files["path"], list) else [files["path"]]
            yield from ((str(files.get("split")), str(path)) for path in paths)


def _check_hashes(root: Path, entries: Sequence[Entry]) -> None:
    for entry in entries:
        with (root / entry.name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                edited = f"if you edited it, write there what 'sha256sum {entry.name}' prints; if not, "
                advice = (edited if entry.name in _EDITED else "") + "give 'farm export' with --check again"
                raise NotPublishable(root / entry.name, f"is not what {SUMS} says; {advice}")
