"""From the axes, zips and rows of a job file to dimensions: files are read, every value is checked."""

import csv
import io
import json
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from storage.errors import InvalidSpec, UnreadableFile, nearest
from storage.spec.dimension import Derived, Dimension, Span, Table, Template, Values, Zipped, template_names
from storage.spec.fields import FIELDS, IMAGE_KEYS, PROMPT_KEYS, check_value, holds_number, holds_whole_number
from storage.spec.file.inputs import InputImages
from storage.spec.file.jobfile import (
    DeriveSource,
    FileSource,
    FolderSource,
    GlobSource,
    RangeSource,
    Rows,
    TemplateSource,
)
from storage.spec.file.reading import explain, read_text

MAX_TABLE_BYTES = 256 * 2**20  # of one file of values: all of them are in memory at once
MAX_PLACES = 10**15  # of one axis; far above the cap on a job, far below what a counter holds
WHOLE_NUMBER_KEYS = frozenset(name for name, entry in FIELDS.items() if holds_whole_number(entry))
NUMBER_KEYS = frozenset(name for name, entry in FIELDS.items() if holds_number(entry))
SEED_DEPENDS_ON = ("prompt", "model")  # what a derived seed hashes unless the job says otherwise


class SourceReader:
    """Turns axes, zips and tables of one job file into dimensions."""

    def __init__(self, base: Path, *, job_seed: int, inputs: InputImages) -> None:
        """Read files relative to `base`; derive seeds from `job_seed`; hand input images to `inputs`."""
        self._base = base
        self._job_seed = job_seed
        self._inputs = inputs

    def axis(self, key: str, source: Any, *, path: str) -> Dimension:
        """Turn one axis into a dimension.

        Args:
            key: The recipe key.
            source: As parsed by JobFile.
            path: Where the axis stands, for messages.

        Raises:
            InvalidSpec: An unknown key, or a value that breaks a rule.
            UnreadableFile: A source file cannot be read.
        """
        if key not in FIELDS:
            raise InvalidSpec(path, key, f"unknown axis; {nearest(key, FIELDS)}")
        match source:
            case RangeSource():
                return _span(key, source, path=path)
            case DeriveSource():
                return _derived(key, source, path=path, job_seed=self._job_seed)
            case TemplateSource():
                return _template(key, source, base=self._base, path=path)
        values = self._values(key, source, path=path)
        return Values(key, tuple(checked(key, value, path=f"{path}[{place}]") for place, value in enumerate(values)))

    def zip(self, axes: Mapping[str, Any], *, path: str) -> Dimension:
        """Turn one entry of `zip` into a dimension; all of its axes must have one length."""
        parts = [self.axis(key, source, path=f"{path}.{key}") for key, source in axes.items()]
        lengths = {part.keys[0]: len(part) for part in parts}
        if not parts or len(set(lengths.values())) != 1:
            raise InvalidSpec(path, lengths, "must hold axes of one length")
        return Zipped(tuple(parts))

    def rows(self, rows: Rows) -> Dimension:
        """Turn a row source into a dimension.

        Raises:
            InvalidSpec: A column is missing or a cell breaks a rule; names the line.
            UnreadableFile: The file cannot be read.
        """
        records = _read_records(rows, self._base / rows.file)
        _check_columns(rows, records)
        table = []
        for line, record in enumerate(records, start=1):
            cells = [
                self._cell(key, record.get(column), path=f"{rows.file} row {line}, {column}")
                for key, column in rows.bind.items()
            ]
            labels = [_label(record.get(name), path=f"{rows.file} row {line}, {name}") for name in rows.labels]
            table.append((*cells, *labels))
        return Table(tuple(rows.bind), tuple(rows.labels), tuple(table))

    def _values(self, key: str, source: Any, *, path: str) -> list[Any]:
        """The values of a list, a text file, or a folder of pictures."""
        if isinstance(source, FolderSource | GlobSource):
            if key not in IMAGE_KEYS:
                rule = f"fits input images only ({', '.join(sorted(IMAGE_KEYS))})"
                raise InvalidSpec(path, source.model_dump(), rule)
            return self._inputs.take_all(source, path=path)
        values: list[Any] = read_lines(self._base / source.file) if isinstance(source, FileSource) else source
        if isinstance(source, FileSource) and key in NUMBER_KEYS:
            values = [_number(text) for text in values]
        if key in IMAGE_KEYS:
            return [
                None if value is None else self._inputs.take(value, path=f"{path}[{place}]")
                for place, value in enumerate(values)
            ]
        return values

    def _cell(self, key: str, value: object, *, path: str) -> object:
        if isinstance(value, str) and key in NUMBER_KEYS:
            value = _number(value)
        if value == "" and FIELDS[key].default is None:
            value = None
        if key in IMAGE_KEYS and value is not None:
            value = self._inputs.take(value, path=path)
        return checked(key, value, path=path)


def _read_records(rows: Rows, file: Path) -> list[dict[str, Any]]:
    for key in rows.bind:
        if key not in FIELDS:
            raise InvalidSpec(f"rows.bind.{key}", rows.bind[key], f"unknown recipe key; {nearest(key, FIELDS)}")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise InvalidSpec("rows.file", rows.file, f"must end in {', '.join(_READERS)}")
    records = reader(file)
    if not records:
        raise InvalidSpec("rows.file", rows.file, "holds no rows")
    return records


def _check_columns(rows: Rows, records: list[dict[str, Any]]) -> None:
    columns = set().union(*(record.keys() for record in records))
    for path, column in [(f"rows.bind.{key}", name) for key, name in rows.bind.items()] + [
        (f"rows.labels[{place}]", name) for place, name in enumerate(rows.labels)
    ]:
        checked("prompt", column, path=path)
        if rows.labels.count(column) > 1:
            raise InvalidSpec(path, column, "given twice")
        if column not in columns:
            raise InvalidSpec(path, column, f"no such column in {rows.file}; {nearest(column, columns)}")


def checked(key: str, value: object, *, path: str) -> object:
    """Check one value; a complaint names the path. Raises InvalidSpec."""
    try:
        return check_value(key, value, path=path)
    except ValidationError as error:
        raise explain(error, value, prefix=path) from None


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 text file, empty ones skipped. Raises UnreadableFile."""
    lines = [line for line in _text(file).split("\n") if line.strip()]  # splitlines() also cuts at U+2028 and others
    if not lines:
        raise UnreadableFile(file, "holds no values; write one a line")
    return lines


def _span(key: str, source: RangeSource, *, path: str) -> Dimension:
    if key not in WHOLE_NUMBER_KEYS:
        raise InvalidSpec(
            path, source.model_dump(), f"a range fits whole numbers only ({', '.join(sorted(WHOLE_NUMBER_KEYS))})"
        )
    last = source.start + source.step * (source.count - 1)
    for value in (source.start, last, source.start + source.step):
        checked(key, value if source.count > 1 else source.start, path=path)
    return Span(key, source.start, source.count, source.step)


def _derived(key: str, source: DeriveSource, *, path: str, job_seed: int) -> Dimension:
    if key != "seed":
        raise InvalidSpec(path, source.derive, "only seeds can be derived")
    over = SEED_DEPENDS_ON if source.over is None else tuple(source.over)
    known = [name for name in FIELDS if name != "seed"]
    for place, name in enumerate(over):
        if name not in known:
            raise InvalidSpec(f"{path}.over[{place}]", name, f"unknown recipe key; {nearest(name, known)}")
    return Derived(source.derive, over, job_seed)


def _template(key: str, source: TemplateSource, *, base: Path, path: str) -> Dimension:
    if key not in PROMPT_KEYS:
        raise InvalidSpec(path, source.template, "a template fits prompts only")
    names = _names(source, path=path)
    lists = [_words(source, name, base=base, path=f"{path}.values.{name}") for name in names]
    if prod(len(texts) for texts in lists) > MAX_PLACES:
        raise InvalidSpec(path, source.template, f"has more than {MAX_PLACES:.0e} texts")
    template = Template(key, source.template, tuple(names), tuple(lists))
    longest = [max(texts, key=lambda text: len(text.encode())) for texts in lists]
    checked(key, source.template.format_map(dict(zip(names, longest, strict=True))), path=path)
    return template


def _names(source: TemplateSource, *, path: str) -> list[str]:
    """The names that a template and its values agree on."""
    try:
        names = template_names(source.template)
    except ValueError as error:
        raise InvalidSpec(f"{path}.template", source.template, str(error)) from None
    for name in names:
        if name not in source.values:
            raise InvalidSpec(f"{path}.template", source.template, f"values has no {name!r}")
    for name in source.values:
        if name not in names:
            raise InvalidSpec(f"{path}.values.{name}", source.values[name], f"the template has no {{{name}}}")
    return names


def _read_table(file: Path, delimiter: str) -> list[dict[str, Any]]:
    try:
        reader = csv.DictReader(io.StringIO(_text(file), newline=""), delimiter=delimiter, strict=True)
        records = list(reader)
    except csv.Error as error:
        raise UnreadableFile(file, f"not a table: {error}") from None
    header = reader.fieldnames or []
    if len(set(header)) < len(header):
        raise UnreadableFile(file, f"has two columns of one name: {', '.join(header)}")
    for row, record in enumerate(records, start=1):
        if None in record:
            rule = f"has more cells than the {len(header)} columns; quote commas in a cell"
            raise UnreadableFile(f"{file}, row {row}", rule)
    return records


def _read_jsonl(file: Path) -> list[dict[str, Any]]:
    records = []
    for line, text in enumerate(_text(file).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableFile(f"{file}, line {line}", f"not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UnreadableFile(f"{file}, line {line}", "must be a JSON object")
        records.append(record)
    return records


_READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".csv": lambda file: _read_table(file, ","),
    ".tsv": lambda file: _read_table(file, "\t"),
    ".jsonl": _read_jsonl,
}


def _text(file: Path) -> str:
    with suppress(OSError, ValueError):  # reading it says what is wrong
        if not stat.S_ISREG(mode := file.stat().st_mode) and not stat.S_ISDIR(mode):
            raise UnreadableFile(file, "is no ordinary file")  # a pipe or a device may have no end
    return read_text(file, max_bytes=MAX_TABLE_BYTES)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _label(value: object, *, path: str) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    checked("prompt", text, path=path)
    return text


def _words(source: TemplateSource, name: str, *, base: Path, path: str) -> tuple[str, ...]:
    """What one {name} of a template stands for."""
    given = source.values[name]
    values = read_lines(base / given.file) if isinstance(given, FileSource) else given
    if not values:
        raise InvalidSpec(path, given, "must not be empty")
    return tuple(_word(value, path=f"{path}[{place}]") for place, value in enumerate(values))


def _word(value: object, *, path: str) -> str:
    """One value of a template."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidSpec(path, value, "must be text; put it in quotes")
    try:
        text = str(value)
    except ValueError:  # Python does not spell out numbers of more than 4300 digits
        raise InvalidSpec(path, value, "must be text; put it in quotes") from None
    checked("prompt", text, path=path)
    return text
