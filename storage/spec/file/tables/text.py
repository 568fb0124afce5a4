"""Tables that are text: csv, tsv, jsonl, and plain lines."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from storage.errors import UnreadableFile
from storage.spec.file.tables.columns import NoColumn


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text, empty ones skipped."""
    return (line for line in text.split("\n") if line.strip())  # splitlines() also cuts at U+2028 and others


def delimited(text: str, columns: Sequence[str], *, file: Path, delimiter: str) -> Iterator[tuple[object, ...]]:
    """These columns of a table with a header, row by row.

    Raises:
        NoColumn: It has no such column.
        UnreadableFile: It is no table.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row = 0
    try:
        header = list(reader.fieldnames or [])
        if len(set(header)) < len(header):
            raise UnreadableFile(file, f"has two columns of one name: {', '.join(header)}")
        missing = next((column for column in columns if header and column not in header), None)
        for row, record in enumerate(reader, start=1):
            if None in record:
                rule = f"has more cells than the {len(header)} columns; quote commas in a cell"
                raise UnreadableFile(f"{file}, row {row}", rule)
            if missing is not None:
                raise NoColumn(missing, header)
            yield tuple(record[column] for column in columns)
    except csv.Error as error:
        where = f"{file}, row {row + 1}"  # a quote that nothing closes ends at the end of the file, and stands here
        raise UnreadableFile(where, f"not a table: {error}; a quote within a quoted cell is written twice") from None


def objects(text: str, columns: Sequence[str], *, file: Path) -> Iterator[tuple[object, ...]]:
    """These columns of a text with a JSON object on each line; what an object lacks is None.

    Raises:
        NoColumn: No object has it; told after the last one.
        UnreadableFile: A line holds something else.
    """
    known: set[str] = set()
    for line, words in enumerate(text.split("\n"), start=1):
        if words.strip():
            record = _object(words, where=f"{file}, line {line}")
            known |= record.keys()
            yield tuple(map(record.get, columns))
    for column in columns:
        if known and column not in known:
            raise NoColumn(column, sorted(known))


def _object(words: str, *, where: str) -> dict[str, Any]:
    try:
        record = json.loads(words, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(where, f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise UnreadableFile(where, "must be a JSON object")
    return record


def _constant(name: str) -> float | None:
    """What a number is that JSON has no word for: NaN is how a missing one is often written."""
    return None if name == "NaN" else float(name)
