"""Damaged and hostile tables: a clean error, within bounds of memory, and never the end of the farm's own process."""

import os
import struct
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spec_files import frozen
from storage.errors import UserError
from storage.spec.file.tables import child
from storage.spec.file.tables import source as tables


def parquet(column: Any, **options: Any) -> bytes:
    sink = BytesIO()
    pq.write_table(pa.table({"p": column}), sink, **options)
    return sink.getvalue()


def good() -> bytes:
    return parquet(["a fox", "a hare"] * 500)


def with_rows_declared(count: int) -> bytes:
    """A file of one row whose footer says that it has `count`; both numbers are spelled in as many bytes."""
    data = bytearray(parquet(["a"] * 70, use_dictionary=False, compression="none"))
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    told, wanted = _varint(70), _varint(count)
    found = bytes(data[footer:]).replace(b"\x16" + told, b"\x16" + wanted)
    body = found[:-8]
    return bytes(data[:footer]) + body + struct.pack("<I", len(body)) + b"PAR1"


def _varint(number: int) -> bytes:
    left, spelled = number << 1, bytearray()
    while left > 0x7F:
        spelled.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*spelled, left])


def repeated(text: str, times: int) -> bytes:
    """A few kilobytes that stand for `times` copies of a text."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, dtype="int32")), pa.array([text]))
    return parquet(column, compression="zstd")


def nested(depth: int) -> bytes:
    kind: pa.DataType = pa.string()
    for _ in range(depth):
        kind = pa.list_(kind)
    sink = BytesIO()
    pq.write_table(pa.table({"p": ["a"], "deep": pa.nulls(1, kind)}), sink)
    return sink.getvalue()


def not_text() -> bytes:
    buffers = [None, pa.py_buffer(struct.pack("<ii", 0, 2)), pa.py_buffer(b"\xff\xfe")]
    return parquet(pa.Array.from_buffers(pa.string(), 1, buffers))


CASES: list[Any] = [
    pytest.param("t.parquet", lambda: b"", "cannot be read: ", id="empty"),
    pytest.param("t.parquet", lambda: b"PAR1PAR1", "cannot be read: ", id="only the marks"),
    pytest.param("t.parquet", lambda: good()[:-8], "cannot be read: Parquet magic bytes not found", id="cut short"),
    pytest.param("t.parquet", lambda: good()[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1",
                 "smaller than the size reported", id="a footer of two gigabytes"),
    pytest.param("t.parquet", lambda: b"PAR1" + b"\x15\xff" * 500 + struct.pack("<I", 900) + b"PAR1",
                 "cannot be read: ", id="a footer of noise"),
    pytest.param("t.parquet", lambda: good()[:8] + b"\xff" * 200 + good()[208:], "cannot be read: ", id="noisy pages"),
    pytest.param("t.parquet", lambda: with_rows_declared(10**12),
                 "declares 1000000000000 rows", id="a trillion rows declared"),
    pytest.param("t.parquet", lambda: parquet(["x" * (40 << 20)], compression="zstd", use_dictionary=False),
                 "has a text of 41943040 bytes in column 'p'", id="one huge cell"),
    pytest.param("t.parquet", lambda: parquet(["x" * (1 << 20)] * 400, compression="zstd"),
                 "has more text in these columns", id="few bytes, many megabytes"),
    pytest.param("t.parquet", lambda: repeated("x" * 60_000, 100_000), "has more text in these columns", id="a bomb"),
    pytest.param("t.parquet", lambda: nested(60), "too deeply nested", id="deep nesting"),
    pytest.param("t.parquet", not_text, "holds bytes that are no UTF-8 text in column 'p'", id="no text"),
    pytest.param("t.arrow", lambda: b"\xff\xff\xff\xff" + struct.pack("<I", 2**31 - 1) + b"x",
                 "t.arrow: ", id="an arrow message of two gigabytes"),
    pytest.param("t.arrow", lambda: b"ARROW1\0\0" + b"\xff" * 64 + b"ARROW1", "cannot be read: ", id="a broken arrow"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "message"), CASES)
def test_a_hostile_table_is_refused(tmp_path: Path, name: str, make: Callable[[], bytes], message: str) -> None:
    (tmp_path / name).write_bytes(make())

    with pytest.raises(UserError) as caught:
        frozen(tmp_path, rows={"file": name, "bind": {"prompt": "p"}})

    assert str(tmp_path / name) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_rows_than_the_farm_takes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(parquet(["a"] * 2000))
    monkeypatch.setattr(tables, "MAX_ROWS", 1500)

    with pytest.raises(UserError, match="has more than 1500 rows; give a limit"):
        frozen(tmp_path, rows={"file": "t.parquet", "bind": {"prompt": "p"}})
    assert len(frozen(tmp_path, rows={"file": "t.parquet", "bind": {"prompt": "p"}, "limit": 9}).dimensions[0]) == 9


def test_a_reader_that_dies_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(good())
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(UserError, match="cannot be read: it is damaged, or wants more memory than it gets"):
        frozen(tmp_path, rows={"file": "t.parquet", "bind": {"prompt": "p"}})


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.parquet")

    with pytest.raises(UserError, match="is no ordinary file"):
        frozen(tmp_path, rows={"file": "t.parquet", "bind": {"prompt": "p"}})


def test_the_reader_starts_without_what_lies_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(good())
    (tmp_path / "pyarrow.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)

    assert len(frozen(tmp_path, rows={"file": "t.parquet", "bind": {"prompt": "p"}}).dimensions[0]) == 1000


def test_a_reader_has_less_memory_than_a_laptop() -> None:
    assert child.MEMORY <= 4 * 2**30
