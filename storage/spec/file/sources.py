"""From the axes, zips and rows of a job file to dimensions: files are read, every value is checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.errors import InvalidSpec, nearest
from storage.spec.dimension import Derived, Dimension, Span, Table, Values, Zipped
from storage.spec.fields import FIELDS, IMAGE_KEYS
from storage.spec.file.inputs import InputImages
from storage.spec.file.jobfile import (
    DatasetSource,
    DeriveSource,
    FileSource,
    FilesSource,
    FolderSource,
    GlobSource,
    RangeSource,
    Rows,
    TemplateSource,
)
from storage.spec.file.tables import Tables
from storage.spec.file.tables.source import TABLES
from storage.spec.file.templates import template_of
from storage.spec.file.values import NUMBER_KEYS, WHOLE_NUMBER_KEYS, cell_value, checked, label_text

SEED_DEPENDS_ON = ("prompt", "model")  # what a derived seed hashes unless the job says otherwise
WHERE = frozenset({"file", "files", "dataset", "split", "config"})  # what names a table


class SourceReader:
    """Turns axes, zips and tables of one job file into dimensions."""

    def __init__(self, base: Path, *, job_seed: int, inputs: InputImages) -> None:
        """Read files relative to `base`; derive seeds from `job_seed`; hand input images to `inputs`."""
        self._tables = Tables(base)
        self._job_seed = job_seed
        self._inputs = inputs

    @property
    def sources(self) -> tuple[dict[str, Any], ...]:
        """Every file of values that was read: key, name, sha256, rows."""
        return tuple(self._tables.sources)

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
                return template_of(key, source, words=self.words, tables=self._tables, path=path)
            case FileSource(column=str()) | FilesSource() | DatasetSource():
                return Values(key, self._column(key, source, path=path))
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
            InvalidSpec: A column is missing or a cell breaks a rule; names the row.
            UnreadableFile: A file cannot be read.
        """
        columns = _columns(rows)
        bound = len(rows.bind)
        table = []
        for row, cells in self._tables.rows(_where(rows), columns, key="rows", limit=rows.limit):
            values = [
                self._cell(key, cell, path=f"{row}, {column}")
                for (key, column), cell in zip(rows.bind.items(), cells[:bound], strict=True)
            ]
            labels = [
                label_text(cell, path=f"{row}, {name}") for name, cell in zip(rows.labels, cells[bound:], strict=True)
            ]
            table.append((*values, *labels))
        return Table(tuple(rows.bind), tuple(rows.labels), tuple(table))

    def words(self, source: Any, *, path: str) -> list[Any]:
        """Plain values of a list, a text file or a column. Raises InvalidSpec, UnreadableFile."""
        match source:
            case FileSource(column=None):
                _check_text(source, path=path)
                return list(self._tables.lines(source.file, key=path, limit=source.limit))
            case FileSource() | FilesSource() | DatasetSource():
                rows = self._column_rows(source, path=path)
                return [_filled(cells[0], path=f"{row}, {source.column}") for row, cells in rows]
        return list(source)

    def _values(self, key: str, source: Any, *, path: str) -> list[Any]:
        """The values of a list, a text file, or a folder of pictures."""
        if isinstance(source, FolderSource | GlobSource):
            if key not in IMAGE_KEYS:
                rule = f"fits input images only ({', '.join(sorted(IMAGE_KEYS))})"
                raise InvalidSpec(path, source.model_dump(), rule)
            return self._inputs.take_all(source, path=path)
        values = self.words(source, path=path)
        if isinstance(source, FileSource):
            values = [cell_value(key, text) for text in values]
        if key in IMAGE_KEYS:
            return [
                None if value is None else self._inputs.take(value, path=f"{path}[{place}]")
                for place, value in enumerate(values)
            ]
        return values

    def _column(self, key: str, source: FileSource | FilesSource | DatasetSource, *, path: str) -> tuple[object, ...]:
        rows = self._column_rows(source, path=path)
        return tuple(self._cell(key, cells[0], path=f"{row}, {source.column}") for row, cells in rows)

    def _column_rows(self, source: FileSource | FilesSource | DatasetSource, *, path: str) -> Any:
        columns = {f"{path}.column": str(source.column)}
        checked("prompt", source.column, path=f"{path}.column")
        return self._tables.rows(_where(source), columns, key=path, limit=source.limit)

    def _cell(self, key: str, cell: object, *, path: str) -> object:
        value = cell_value(key, cell)
        if (value is None and FIELDS[key].default is not None) or (value == "" and key in NUMBER_KEYS):
            raise InvalidSpec(path, None, f"is empty, and {key} cannot be; fill it, or leave the row out")
        if key in IMAGE_KEYS and value is not None:
            value = self._inputs.take(value, path=path)
        return checked(key, value, path=path)


def _filled(cell: object, *, path: str) -> object:
    if cell is None:
        raise InvalidSpec(path, None, "is empty, and a template cannot do without; fill it, or leave the row out")
    return cell


def _where(source: FileSource | FilesSource | DatasetSource | Rows) -> dict[str, str]:
    return source.model_dump(include=set(WHERE), exclude_none=True)


def _check_text(source: FileSource, *, path: str) -> None:
    suffix = Path(source.file).suffix.lower()
    if suffix in TABLES:
        raise InvalidSpec(path, {"file": source.file}, "is a table; say which column, such as column: caption")


def _columns(rows: Rows) -> dict[str, str]:
    """Where the job file names each column -> the column."""
    for key in rows.bind:
        if key not in FIELDS:
            raise InvalidSpec(f"rows.bind.{key}", rows.bind[key], f"unknown recipe key; {nearest(key, FIELDS)}")
    columns = {f"rows.bind.{key}": column for key, column in rows.bind.items()}
    columns |= {f"rows.labels[{place}]": name for place, name in enumerate(rows.labels)}
    for path, column in columns.items():
        checked("prompt", column, path=path)
        if rows.labels.count(column) > 1:
            raise InvalidSpec(path, column, "given twice")
    return columns


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
