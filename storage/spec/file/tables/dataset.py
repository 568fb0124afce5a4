"""The data files of one split of a data set folder, as the Hugging Face `datasets` library would find them.

Three kinds of folders: saved by `save_to_disk` (arrow files and state.json), with `configs:` in README.md, and with
names that tell the split (data/train-00000-of-00002.parquet, train.csv, test/part.jsonl). The library is not needed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from storage.errors import InvalidSpec, UnreadableFile, nearest
from storage.spec.file.reading import read_text
from storage.yaml_text import parse_yaml

SUFFIXES: Final = (".parquet", ".arrow", ".jsonl", ".csv", ".tsv")
MAX_NOTE_BYTES: Final = 16 * 2**20  # of README.md and the JSON files of a folder
_KEYWORDS: Final = {  # of datasets.data_files.SPLIT_KEYWORDS
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARD: Final = re.compile(r"(?P<split>\w+(?:\.\w+)*)-\d{5}-of-\d{5}\b.*")
_TOO_DEEP: Final = 8  # folders below the data set's


def files_of_split(folder: Path, *, split: str | None, config: str | None, path: str) -> list[Path]:
    """The files of a split, in the order of their names.

    Args:
        folder: Of the data set.
        split: Its name; None: train, or the only one.
        config: Of the `configs:` in README.md; None: the default one, or the only one.
        path: Of the entry in the job file, for messages.

    Raises:
        InvalidSpec: There is no such split or config.
        UnreadableFile: The folder is no data set that the farm reads.
        OSError: It is not there.
    """
    next(iter(folder.iterdir()), None)
    if (folder / "dataset_dict.json").exists():
        names = _note(folder / "dataset_dict.json", "splits", list)
        return _saved(_inside(folder, str(_pick(names, split, path=f"{path}.split"))))
    if (folder / "state.json").exists():
        if config is not None or split is not None:
            key, given = ("split", split) if split is not None else ("config", config)
            raise InvalidSpec(f"{path}.{key}", given, "has no place here: the folder holds one saved split")
        return _saved(folder)
    splits = _declared(folder, config, path=path) or _guessed(folder)
    if not splits:
        raise UnreadableFile(folder, f"holds no data files ({', '.join(SUFFIXES)})")
    files = splits[_pick(list(splits), split, path=f"{path}.split")]
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            raise UnreadableFile(file, f"must end in {', '.join(SUFFIXES)}; other data files are not read")
    return files


def _pick(names: Sequence[str], wanted: str | None, *, path: str) -> str:
    default = "train" if wanted is None and "train" in names else wanted
    if default is None and len(names) == 1:
        return names[0]
    if default not in names:
        hint = f"must be one of {', '.join(map(str, names))}" if default is None else nearest(default, names)
        raise InvalidSpec(path, wanted, f"must be given; {hint}" if wanted is None else f"no such name; {hint}")
    return str(default)


def _saved(folder: Path) -> list[Path]:
    """The arrow files of a folder that `save_to_disk` wrote."""
    entries = _note(folder / "state.json", "_data_files", list)
    files = [_inside(folder, str(entry.get("filename"))) for entry in entries if isinstance(entry, dict)]
    if not files or len(files) < len(entries):
        raise UnreadableFile(folder / "state.json", "names no data files; save the data set again")
    return files


def _note(file: Path, key: str, kind: type[list[Any]]) -> list[Any]:
    try:
        found = json.loads(read_text(file, max_bytes=MAX_NOTE_BYTES))
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(file, f"not JSON: {error}") from None
    entries = found.get(key) if isinstance(found, dict) else None
    if not isinstance(entries, kind) or not entries:
        raise UnreadableFile(file, f"has no list {key!r}; save the data set again")
    return entries


def _inside(folder: Path, name: str) -> Path:
    """A file that a data set names, which must be its own."""
    if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UnreadableFile(folder, f"names {name!r}, which lies outside of it")
    return folder / name


def _declared(folder: Path, config: str | None, *, path: str) -> dict[str, list[Path]]:
    """The splits that README.md tells of, if it does."""
    configs = _configs(folder / "README.md")
    if not configs:
        if config is not None:
            raise InvalidSpec(f"{path}.config", config, "README.md of the folder has no configs")
        return {}
    default = [name for name, entry in configs.items() if entry.get("default") is True or name == "default"]
    chosen = configs[_pick(list(configs), config if config is not None or not default else default[0],
                           path=f"{path}.config")]  # fmt: skip
    root = _inside(folder, str(chosen.get("data_dir") or "."))
    if "data_files" not in chosen:
        return _guessed(root)
    return {
        split: [file for pattern in patterns for file in _matches(root, pattern, path=path)]
        for split, patterns in _patterns(chosen["data_files"], folder / "README.md").items()
    }


def _configs(readme: Path) -> dict[str, Mapping[str, Any]]:
    if not readme.is_file():
        return {}
    text = read_text(readme, max_bytes=MAX_NOTE_BYTES)
    header = re.match(r"---\n(.*?)\n---(\n|\Z)", text, re.DOTALL)
    said = parse_yaml(header[1], where=str(readme)) if header else None
    configs = said.get("configs") if isinstance(said, dict) else None
    entries = configs if isinstance(configs, list) else []
    return {str(entry.get("config_name", "default")): entry for entry in entries if isinstance(entry, dict)}


def _patterns(said: object, readme: Path) -> dict[str, list[str]]:
    """Patterns by split, from any of the forms that `data_files` takes."""
    if isinstance(said, str):
        return {"train": [said]}
    if isinstance(said, dict):
        return {str(split): _texts(entry, readme) for split, entry in said.items()}
    if isinstance(said, list) and said and all(isinstance(entry, dict) for entry in said):
        return {str(entry.get("split", "train")): _texts(entry.get("path"), readme) for entry in said}
    return {"train": _texts(said, readme)}


def _texts(said: object, readme: Path) -> list[str]:
    texts = [said] if isinstance(said, str) else said
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise UnreadableFile(readme, "data_files must hold patterns such as data/train-*.parquet")
    return texts


def _matches(root: Path, pattern: str, *, path: str) -> list[Path]:
    _inside(root, pattern)
    try:
        files = sorted(file for file in root.glob(pattern) if file.is_file())
    except (ValueError, NotImplementedError, IndexError) as error:
        raise UnreadableFile(root, f"has the pattern {pattern!r}: {error}") from None
    if not files:
        raise InvalidSpec(path, None, f"README.md names {pattern!r}, and {str(root)!r} has no such file")
    return files


def _guessed(folder: Path) -> dict[str, list[Path]]:
    """Splits by the names of files and folders; without any such name, all of it is train."""
    files = _data_files(folder)
    shards = [(file, _SHARD.fullmatch(file.name)) for file in files if file.parent == folder / "data"]
    named = [(file, match["split"]) for file, match in shards if match is not None]
    if not named:
        told = [(file, _told(file.relative_to(folder))) for file in files]
        named = [(file, split) for file, split in told if split is not None] or [(file, "train") for file in files]
    return {split: [file for file, of in named if of == split] for split in dict.fromkeys(of for _, of in named)}


def _told(name: Path) -> str | None:
    words = [set(re.split(r"[^a-z]+", part.casefold())) for part in (*name.parts[:-1], name.stem)]
    return next((split for split, keys in _KEYWORDS.items() if any(word & set(keys) for word in words)), None)


def _data_files(folder: Path) -> list[Path]:
    """The files of the kind that the folder has most of, by name."""
    found = [
        file for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES and file.is_file() and len(file.relative_to(folder).parts) <= _TOO_DEEP
        and not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    ]  # fmt: skip
    kinds = [file.suffix.lower() for file in found]
    most = max(SUFFIXES, key=kinds.count)
    return [file for file in found if file.suffix.lower() == most]
