"""From a file's bytes to a checked JobFile, with every complaint in the file's own key paths."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from storage.errors import InvalidSpec, UnreadableFile, nearest
from storage.rules import rule_of
from storage.spec.file.jobfile import (
    AXIS_TAGS,
    DatasetSource,
    DeriveSource,
    FileSource,
    FilesSource,
    FolderSource,
    GlobSource,
    JobBase,
    JobFile,
    Output,
    PlanPins,
    Previews,
    RangeSource,
    Rows,
    Sample,
    TemplateSource,
)
from storage.spec.file.quality import MAPPINGS
from storage.yaml_text import parse_yaml

__all__ = ["check_job_file", "explain", "parse_yaml", "read_job_file", "read_text"]

MAX_FILE_BYTES = 64 * 2**20
_HINT = "; move values into {file: ...}, and long lists into several jobs"


def read_job_file(path: Path, *, changes: Sequence[str] = ()) -> JobBase:
    """Read a job file (YAML or JSON) and apply `--set key.path=value` changes.

    Raises:
        UnreadableFile: Missing, not text, too big, or not YAML; says the line.
        InvalidSpec: A key or value breaks a rule.
    """
    raw = parse_yaml(read_text(path, max_bytes=MAX_FILE_BYTES), where=str(path))
    if raw is None:
        raise UnreadableFile(path, "is empty; 'farm init' prints a job file to start from")
    if not isinstance(raw, dict):
        raise UnreadableFile(path, f"must hold a mapping of keys, not a {type(raw).__name__}")
    for change in changes:
        _apply(raw, change)
    return check_job_file(raw)


def check_job_file(raw: Mapping[str, Any]) -> JobBase:
    """Check a job given as plain data. Raises InvalidSpec."""
    try:
        return JobFile.model_validate(raw)
    except ValidationError as error:
        raise explain(error, raw) from None


def explain(error: ValidationError, raw: object, *, prefix: str = "") -> InvalidSpec:
    """Word pydantic's first complaint in the file's own key path, with the rule and the nearest name."""
    first = min(error.errors(include_url=False), key=lambda entry: entry["type"] != "extra_forbidden")
    path = prefix + _path(first["loc"], raw, missing=first["type"] == "missing", bare=not prefix)
    kind = first["type"]
    if kind == "extra_forbidden":
        return InvalidSpec(
            path, first["input"], f"unknown key; {nearest(str(first['loc'][-1]), _siblings(first['loc']))}"
        )
    if kind == "list_type" and isinstance(first["input"], dict) and first["loc"][-1:] == ("list",):
        return InvalidSpec(path, first["input"], _axis_rule(first["input"]))
    value = None if kind == "missing" else first["input"]
    return InvalidSpec(path, value, rule_of(first))


def read_text(file: Path, *, max_bytes: int) -> str:
    """The text of a file, of which no more than it may have is ever in memory. Raises UnreadableFile."""
    return decode(read_bytes(file, max_bytes=max_bytes), file)


def read_bytes(file: Path, *, max_bytes: int) -> bytes:
    """The bytes of a file that has no more than it may have. Raises UnreadableFile."""
    try:
        with file.open("rb") as handle:  # not by its size: a device has none, and no end
            data = handle.read(max_bytes + 1)
    except OSError as error:
        raise UnreadableFile(file, (error.strerror or str(error)).lower()) from None
    except ValueError:  # a NUL, or half of a surrogate pair
        raise UnreadableFile(repr(str(file)), "is no name of a file") from None
    if len(data) > max_bytes:
        raise UnreadableFile(file, f"is larger than {max_bytes // 2**20} MiB{_HINT}")
    return data


def decode(data: bytes, file: Path) -> str:
    """The text of these bytes, lines ending in a line feed. Raises UnreadableFile."""
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UnreadableFile(file, f"is not UTF-8 text (byte {error.start})") from None


def _apply(raw: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path.strip():
        raise InvalidSpec("--set", change, "must be KEY=VALUE, such as steps=30 or axes.seed.count=4")
    *parents, last = path.strip().split(".")
    if not all((*parents, last)):
        raise InvalidSpec("--set", change, "has an empty key")
    place: Any = raw
    for parent in parents:
        below = place.get(parent)
        if not isinstance(below, dict | None):
            raise InvalidSpec("--set", change, f"{parent!r} is not a mapping in this file")
        place[parent] = place = dict(below or {})  # a copy: aliases share one mapping
    place[last] = parse_yaml(text, where=f"--set {path}")


def _path(loc: Sequence[int | str], raw: object, *, missing: bool, bare: bool) -> str:
    """Join the parts of a location that exist in the file; pydantic adds names of its own alternatives."""
    path, place = "", raw
    form = {"axes": 2, "zip": 3}.get(str(loc[0]) if loc else "")  # where pydantic puts the form of an axis
    for depth, part in enumerate(loc):
        if depth == form and part in AXIS_TAGS:
            continue
        if isinstance(part, int) and isinstance(place, list) and part < len(place):
            path, place = f"{path}[{part}]", place[part]
        elif isinstance(place, dict) and (part in place or (missing and depth == len(loc) - 1)):
            path, place = f"{path}.{part}", place.get(part)
    if bare and not path:
        path = f".{loc[-1] if loc else 'the file'}"
    return path.removeprefix(".") if bare else path


def _axis_rule(given: Mapping[Any, Any]) -> str:
    forms = ("count", "dataset", "derive", "file", "files", "folder", "glob", "template")
    hint = nearest(str(next(iter(given), "")), forms)
    return f"must be a list, or a mapping with {', '.join(forms[:-1])} or {forms[-1]}; {hint}"


def _siblings(loc: Sequence[int | str]) -> list[str]:
    """The keys that the mapping at this location knows."""
    names: dict[str, type[BaseModel]] = {
        "rows": Rows, "plan": PlanPins, "previews": Previews, "output": Output, "sample": Sample, **MAPPINGS,
    }  # fmt: skip
    forms: dict[str, type[BaseModel]] = {
        "FileSource": FileSource, "file": FileSource, "range": RangeSource, "derive": DeriveSource,
        "FilesSource": FilesSource, "files": FilesSource, "DatasetSource": DatasetSource, "dataset": DatasetSource,
        "template": TemplateSource, "folder": FolderSource, "glob": GlobSource,
    }  # fmt: skip
    for part in reversed(loc[:-1]):
        model = {**names, **forms}.get(str(part))
        if model is not None:
            return list(model.model_fields)
    return list(JobFile.model_fields)
