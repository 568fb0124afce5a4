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
    card: str  # the text of README.md

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
    card = _card(root)
    check_front(root, card, names=[entry.name for entry in entries])
    _check_hashes(root, entries)
    return Parcel(root=root, index=index, entries=entries, card=card)


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


def _card(root: Path) -> str:
    try:
        return (root / README).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        rule = f"byte {error.start + 1} is no UTF-8, which the hub wants; save the file as UTF-8"
        raise NotPublishable(root / README, rule) from None


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
        raise NotPublishable(root, f"{_some(lost)} missing; give 'farm export' with --check again")
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
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise NotPublishable(file, f"its front matter is no YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(front, dict) or not front.get("license"):
        raise NotPublishable(file, "its front matter must say license:")
    for split, pattern in _patterns(file, front):
        if not any(fnmatch(name, pattern.replace("**/", "*")) for name in names):
            raise NotPublishable(file, f"configs: split {split!r} finds no file with {pattern!r}")


def _patterns(file: Path, front: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Split and pattern of what a card names, in any of the ways that the hub takes. Raises NotPublishable."""
    configs = front.get("configs") or []
    if not isinstance(configs, list) or not all(isinstance(config, dict) for config in configs):
        raise NotPublishable(file, "configs: must be a list of mappings")
    for config in configs:
        given = config.get("data_files") or []
        alone = _texts(given)
        entries = given if alone is None else [{"split": _UNNAMED, "path": alone}]
        for entry in entries if isinstance(entries, list) else [entries]:
            paths = _texts(entry.get("path")) if isinstance(entry, dict) and "split" in entry else None
            if paths is None or not isinstance(entries, list):
                raise NotPublishable(file, _DATA_FILES)
            yield from ((str(entry["split"]), path) for path in paths)


def _texts(value: object) -> list[str] | None:
    """A text or a list of texts as a list; None for anything else."""
    found = value if isinstance(value, list) else [value]
    texts = [one for one in found if isinstance(one, str)]
    return texts if len(texts) == len(found) else None


_UNNAMED: Final = "train"  # what a reader makes of files without a split
_DATA_FILES: Final = "configs: data_files must be a pattern, a list of them, or a list of mappings with split and path"


def _check_hashes(root: Path, entries: Sequence[Entry]) -> None:
    for entry in entries:
        with (root / entry.name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                edited = f"if you edited it, write there what 'sha256sum {entry.name}' prints; if not, "
                advice = (edited if entry.name in _EDITED else "") + "give 'farm export' with --check again"
                raise NotPublishable(root / entry.name, f"is not what {SUMS} says; {advice}")
