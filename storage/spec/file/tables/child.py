"""The process that reads parquet and arrow files for another one, which it sends rows as lines of JSON.

These formats are read by a large library in C++, and a file says itself how much memory it wants. Here a damaged or
hostile one costs this process, whose memory is bounded, and never the farm. A line is one of

    {"rows": [[cell, ...], ...]}                    some rows, the columns in the order that was asked for
    {"done": file, "sha256": hex}                   of the file's bytes
    {"refused": file, "why": sentence}              nothing follows
    {"missing": file, "column": name, "known": [name, ...]}
"""

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

MEMORY: Final = 2 * 2**30  # bytes of addresses; the library itself takes a third of a gigabyte
BATCH: Final = 500  # rows
MAX_CELL: Final = 2**20  # bytes of one text; no key takes as much
MAX_DEPTH: Final = 32  # of nested columns beside those that are read
MAX_COLUMNS: Final = 10_000
_WHOLE_SECOND: Final = re.compile(r"\.0+(?=Z|$)")
_READ: Final = "only text, numbers, dates and true or false are read"


class Refused(Exception):
    """A file is not read. Args: a sentence that follows its name."""


class Missing(Exception):
    """A file lacks a column. Args: its name, the names that are there."""


def main() -> None:
    """Answer one request, read as JSON from standard input."""
    wanted = json.load(sys.stdin)
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # so that the bound below is met by each allocation
    _bound_memory()
    left, room = wanted["limit"], wanted["max_bytes"]
    for place, name in enumerate(wanted["files"]):
        try:
            sent = _send(name, wanted["columns"], limit=left, max_bytes=room)
        except Missing as error:
            _say({"missing": place, "column": error.args[0], "known": error.args[1]})
            return
        except Refused as error:
            _say({"refused": place, "why": str(error)})
            return
        _say({"done": place, "sha256": sent.sha256})
        left, room = left - sent.rows, room - sent.size
        if left <= 0:
            return


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent of one file."""

    rows: int
    size: int  # bytes of memory that its cells took
    sha256: str  # of the whole file


def _send(name: str, columns: Sequence[str], *, limit: int, max_bytes: int) -> Sent:
    """Send the rows of one file."""
    import pyarrow as pa

    sent, size = 0, 0
    try:
        with open(name, "rb") as handle:  # noqa: PTH123  # the name came as text
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
            handle.seek(0)
            for batch in _batches(handle, columns):
                spelled = [_spelled_out(batch.column(place)) for place in range(len(columns))]
                size += sum(column.nbytes for column in spelled) + batch.num_rows * 8 * len(columns)
                if size > max_bytes:
                    raise Refused("has more text in these columns than the farm takes of one source; give a limit")
                cells = [_cells(cells, name) for cells, name in zip(spelled, columns, strict=True)]
                rows = list(zip(*cells, strict=True))[: limit - sent]
                _say({"rows": rows})
                sent += len(rows)
                if sent >= limit:
                    break
    except (pa.ArrowException, MemoryError, ValueError, KeyError, OSError) as error:
        raise Refused(_reason(error)) from None
    return Sent(sent, size, sha256)


def _batches(handle: IO[bytes], columns: Sequence[str]) -> Iterator[Any]:
    """Some rows at a time, of these columns in this order."""
    start = handle.read(8)
    handle.seek(0)
    return _parquet(handle, columns) if start[:4] == b"PAR1" else _arrow(handle, start, columns)


def _parquet(handle: IO[bytes], columns: Sequence[str]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(handle, buffer_size=2**20, pre_buffer=False, schema_depth_limit=MAX_DEPTH)
    _check_schema(file.schema_arrow, columns)
    rows = 0
    for batch in file.iter_batches(batch_size=BATCH, columns=list(dict.fromkeys(columns)), use_threads=False):
        rows += batch.num_rows
        yield batch.select(list(columns))
    if rows != file.metadata.num_rows:
        raise Refused(f"cannot be read: it declares {file.metadata.num_rows} rows and has {rows}")


def _arrow(handle: IO[bytes], start: bytes, columns: Sequence[str]) -> Iterator[Any]:
    """Either form of an arrow file; the one that streams is what `save_to_disk` writes."""
    import pyarrow as pa

    source = pa.PythonFile(handle, mode="r")
    options = pa.ipc.IpcReadOptions(use_threads=False)
    if start[:6] == b"ARROW1":
        reader = pa.ipc.open_file(source, options=options)
        batches = (reader.get_batch(place) for place in range(reader.num_record_batches))
    else:
        reader = pa.ipc.open_stream(source, options=options)
        batches = iter(reader)
    _check_schema(reader.schema, columns)
    for batch in batches:
        picked = batch.select(list(columns))
        picked.validate()
        for first in range(0, picked.num_rows, BATCH):
            yield picked.slice(first, BATCH)


def _check_schema(schema: Any, columns: Sequence[str]) -> None:
    names = schema.names[:MAX_COLUMNS]
    for column in columns:
        if column not in names:
            raise Missing(column, names)
        if names.count(column) > 1:
            raise Refused(f"has two columns of one name: {column}")
        _check_type(column, schema.field(column).type)


def _check_type(column: str, kind: Any) -> None:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _check_type(column, kind.value_type)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        raise Refused(f"holds bytes in column {column!r}; {_READ}")
    if types.is_nested(kind) or not (_is_plain(kind) or _is_told_as_text(kind)):
        if types.is_struct(kind) and {"bytes", "path"} == {field.name for field in kind}:
            raise Refused(f"holds pictures in column {column!r}; save them as files, and let a column name these")
        raise Refused(f"holds {kind} in column {column!r}; {_READ}")
    return None


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _is_plain(kind: Any) -> bool:
    """Whether JSON has such values."""
    from pyarrow import types

    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_null)
    return _is_text(kind) or any(test(kind) for test in tests)


def _is_told_as_text(kind: Any) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_date, types.is_time, types.is_timestamp, types.is_decimal))


def _spelled_out(column: Any) -> Any:
    """A column without a dictionary: what it takes is what its rows will take."""
    from pyarrow import types

    return column.dictionary_decode() if types.is_dictionary(column.type) else column


def _cells(column: Any, name: str) -> list[object]:
    import pyarrow as pa
    from pyarrow import compute as pc
    from pyarrow import types

    if types.is_timestamp(column.type) or types.is_time(column.type):
        return [cell and _WHOLE_SECOND.sub("", cell) for cell in column.cast(pa.string()).to_pylist()]
    if _is_told_as_text(column.type):
        column = column.cast(pa.string())
    if _is_text(column.type) and (longest := pc.max(pc.binary_length(column)).as_py() or 0) > MAX_CELL:
        raise Refused(f"has a text of {longest} bytes in column {name!r}; the most is {MAX_CELL}")
    try:
        cells: list[object] = column.to_pylist()
    except UnicodeDecodeError:
        raise Refused(f"holds bytes that are no UTF-8 text in column {name!r}") from None
    if types.is_floating(column.type):  # pandas writes a missing number so
        return [None if isinstance(cell, float) and math.isnan(cell) else cell for cell in cells]
    return cells


def _bound_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):  # a system without such bounds, or a lower one that stands already
        return
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "wants more memory than it gets"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror.lower()
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return f"cannot be read: {text[:300].rstrip('.')}"


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
