"""Which files stand behind one entry of a job file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.errors import InvalidSpec, UnreadableFile
from storage.spec.file.inputs import natural
from storage.spec.file.tables.dataset import files_of_split

FORMS = ("file", "files", "dataset")
_OF_A_DATASET = ("split", "config")
MAX_FILES = 10_000  # of one entry


@dataclass(frozen=True, slots=True)
class Found:
    """One file of values."""

    name: str  # as the job file names it; a file of a pattern or a folder by its path from the same place
    path: Path


def find_files(where: Mapping[str, str], *, base: Path, path: str) -> list[Found]:
    """The files that an entry names, in the order of their rows.

    Args:
        where: One of file, files (a pattern) and dataset (a folder, perhaps with split and config).
        base: Folder that names are relative to.
        path: Of the entry in the job file, for messages.

    Raises:
        InvalidSpec: It names none, or too many.
        UnreadableFile: A folder cannot be read.
    """
    given = [form for form in FORMS if form in where]
    if len(given) != 1:
        said = "one of" if not given else "only one of"
        raise InvalidSpec(path, None, f"must name {said} file, files (a pattern) and dataset (a folder)")
    (form,) = given
    for key in _OF_A_DATASET:
        if key in where and form != "dataset":
            raise InvalidSpec(f"{path}.{key}", where[key], "goes with dataset only")
    if form == "file":
        return [Found(where["file"], base / where["file"])]
    found = _matches(where["files"], base, path=path) if form == "files" else _shards(where, base, path=path)
    if len(found) > MAX_FILES:
        raise InvalidSpec(f"{path}.{form}", where[form], f"stands for {len(found)} files; the most is {MAX_FILES}")
    return found


def _matches(pattern: str, base: Path, *, path: str) -> list[Found]:
    """Files that a pattern matches; hidden ones left out, img2 before img10."""
    root, rest = _split(pattern, base)
    try:
        files = [file for file in root.glob(rest) if not file.name.startswith(".") and not os.path.isdir(file)]  # noqa: PTH112  # Path.is_dir raises on a ring of links
    except (OSError, ValueError, NotImplementedError, IndexError) as error:
        raise InvalidSpec(f"{path}.files", pattern, f"is no pattern such as data/*.parquet: {error}") from None
    if not files:
        raise InvalidSpec(f"{path}.files", pattern, f"matches no file; looked from {str(base)!r}")
    return [_found(file, base) for file in sorted(files, key=lambda file: [natural(part) for part in file.parts])]


def _split(pattern: str, base: Path) -> tuple[Path, str]:
    given = Path(pattern)
    return (Path(given.anchor), str(given.relative_to(given.anchor))) if given.is_absolute() else (base, pattern)


def _shards(where: Mapping[str, str], base: Path, *, path: str) -> list[Found]:
    folder = base / where["dataset"]
    try:
        files = files_of_split(folder, split=where.get("split"), config=where.get("config"), path=path)
    except FileNotFoundError:
        raise UnreadableFile(folder, "no such folder; nothing is fetched: download the data set first") from None
    except OSError as error:
        raise UnreadableFile(folder, (error.strerror or str(error)).lower()) from None
    except ValueError:  # a NUL, or half of a surrogate pair
        raise UnreadableFile(repr(str(folder)), "is no name of a folder") from None
    return [Found(_within(file, folder, where["dataset"]), file) for file in files]


def _within(file: Path, folder: Path, name: str) -> str:
    return f"{name.rstrip('/')}/{file.relative_to(folder).as_posix()}"


def _found(file: Path, base: Path) -> Found:
    return Found(file.relative_to(base).as_posix() if file.is_relative_to(base) else str(file), file)
