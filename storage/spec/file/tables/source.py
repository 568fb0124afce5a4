"""The rows of what one entry of a job file names; what was read is told by name and hash."""

import hashlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

from storage.errors import InvalidSpec, UnreadableFile, nearest
from storage.spec.file.reading import decode, read_bytes
from storage.spec.file.tables.arrow import MAX_ROWS, rows_of
from storage.spec.file.tables.columns import NoColumn
from storage.spec.file.tables.found import FORMS, Found, find_files
from storage.spec.file.tables.text import delimited, lines_of, objects

MAX_TABLE_BYTES: Final = 256 * 2**20  # of one source: all of its values are in memory at once
TEXT_TABLES: Final = (".csv", ".tsv", ".jsonl")
ARROW_TABLES: Final = (".parquet", ".arrow")
TABLES: Final = (*TEXT_TABLES, *ARROW_TABLES)


class Tables:
    """Reads the tables and word files of one job file."""

    def __init__(self, base: Path) -> None:
        """Find files relative to `base`."""
        self._base = base
        self.sources: list[dict[str, Any]] = []  # what was read: key of the job file, name, sha256, rows

    def lines(self, name: str, *, key: str, limit: int | None = None, comments: str | None = None) -> list[str]:
        """The lines of a text file, empty ones skipped.

        Args:
            name: As the job file has it.
            key: Where it stands in the job file.
            limit: How many at most.
            comments: What lines begin with that are skipped too.

        Raises:
            UnreadableFile: It is no text, or empty.
        """
        text, sha256 = _text(self._base / name, max_bytes=MAX_TABLE_BYTES)
        said = (line for line in lines_of(text) if comments is None or not line.lstrip().startswith(comments))
        found = list(islice(said, limit))
        if not found:
            raise UnreadableFile(self._base / name, "holds no values; write one a line")
        self._note(key, name, sha256=sha256, rows=len(found))
        return found

    def rows(
        self, where: Mapping[str, str], columns: Mapping[str, str], *, key: str, limit: int | None
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Some columns of a table.

        Args:
            where: What names it; see `find_files`.
            columns: Where the job file names each column -> the column.
            key: Where the table stands in the job file.
            limit: How many rows at most.

        Yields:
            Where the row stands, for messages; its cells.

        Raises:
            InvalidSpec: There is no such table or column, or it has no rows.
            UnreadableFile: A file cannot be read.
        """
        files = find_files(where, base=self._base, path=key)
        form = next(form for form in FORMS if form in where)
        for one in files:
            if one.path.suffix.lower() not in TABLES:
                raise InvalidSpec(f"{key}.{form}", one.name, f"must end in {', '.join(TABLES)}")
        count = 0
        try:
            for where_it_is, cells in self._read(files, list(columns.values()), limit=limit, key=key):
                count += 1
                yield where_it_is, cells
        except NoColumn as missing:
            path = next(path for path, column in columns.items() if column == missing.name)
            table = where[form] if len(files) == 1 else f"a file of {where[form]}"
            rule = f"no such column in {table}; {nearest(missing.name, missing.known)}"
            raise InvalidSpec(path, missing.name, rule) from None
        if not count:
            raise InvalidSpec(f"{key}.{form}", where[form], "holds no rows")

    def _read(
        self, files: Sequence[Found], columns: Sequence[str], *, limit: int | None, key: str
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        left, room = MAX_ROWS + 1 if limit is None else limit, MAX_TABLE_BYTES
        for is_arrow, group in groupby(files, key=lambda one: one.path.suffix.lower() in ARROW_TABLES):
            read = _arrow_tables if is_arrow else _text_tables
            for one, sha256, rows in read(list(group), columns, limit=left, max_bytes=room):
                self._note(key, one.name, sha256=sha256, rows=len(rows))
                for number, cells in enumerate(rows, start=1):
                    yield f"{one.name} row {number}", cells
                left -= len(rows)
                if left <= 0 and limit is None:
                    raise UnreadableFile(one.path, f"has more than {MAX_ROWS} rows; give a limit")
                if left <= 0:
                    return

    def _note(self, key: str, name: str, *, sha256: str, rows: int) -> None:
        self.sources.append({"key": key, "name": name, "sha256": sha256, "rows": rows})


_Rows = Iterator[tuple[Found, str, list[tuple[Any, ...]]]]  # of each file: its hash, and some columns


def _arrow_tables(files: Sequence[Found], columns: Sequence[str], *, limit: int, max_bytes: int) -> _Rows:
    for one in files:
        _check_ordinary(one.path)
    rows: list[tuple[Any, ...]] = []
    for one, sha256, more in rows_of(files, columns, limit=limit, max_bytes=max_bytes):
        rows += map(tuple, more)
        if sha256 is not None:
            yield one, sha256, rows
            rows = []


def _text_tables(files: Sequence[Found], columns: Sequence[str], *, limit: int, max_bytes: int) -> _Rows:
    for one in files:
        text, sha256 = _text(one.path, max_bytes=max_bytes)
        max_bytes -= len(text)
        rows = list(_text_rows(one.path, text, columns))[:limit]
        limit -= len(rows)
        yield one, sha256, rows


def _text_rows(file: Path, text: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    suffix = file.suffix.lower()
    if suffix == ".jsonl":
        return objects(text, columns, file=file)
    return delimited(text, columns, file=file, delimiter="\t" if suffix == ".tsv" else ",")


def _text(file: Path, *, max_bytes: int) -> tuple[str, str]:
    """The text of a file and the hash of its bytes."""
    _check_ordinary(file)
    data = read_bytes(file, max_bytes=max_bytes)
    return decode(data, file), hashlib.sha256(data).hexdigest()


def _check_ordinary(file: Path) -> None:
    with suppress(OSError, ValueError):  # reading it says what is wrong
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UnreadableFile(file, "is a directory; a folder of data files is {dataset: FOLDER}")
        if not stat.S_ISREG(mode):
            raise UnreadableFile(file, "is no ordinary file")  # a pipe or a device may have no end
