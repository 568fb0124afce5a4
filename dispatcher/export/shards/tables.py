"""Flat rows as parquet with typed columns: the table of a shard, or pictures and rows in one.

The same rows give the same bytes with one pyarrow: row groups are cut by the rows alone.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from dispatcher.export.shards.hashed import HashedFile
from dispatcher.provenance.columns import ROW_SCHEMA, Column

if TYPE_CHECKING:
    import pyarrow

GROUP_ROWS: Final = 1000
GROUP_BYTES: Final = 16 * 2**20  # of pictures: twice as much costs the allocator more than copying does
_PAGE_BYTES: Final = 2**20  # of pictures: what is gathered in memory at a time; larger ones are copied as they grow
IMAGE, TEXT, CLS = "image", "text", "cls"


class TableWriter:
    """Writes rows into a parquet file, a group at a time."""

    def __init__(self, file: HashedFile, schema: "pyarrow.Schema") -> None:
        self._file = file
        self._schema = schema
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._rows: list[Mapping[str, Any]] = []
        self._bytes = 0

    def add(self, row: Mapping[str, Any], *, size: int = 0) -> None:
        """Append a row; `size` is the number of bytes of its picture."""
        self._rows.append(row)
        self._bytes += size
        if len(self._rows) == GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the rest and the footer."""
        self._flush()
        self._opened().close()

    def abandon(self) -> None:
        """End without what is missing: the writer must not outlive its file."""
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        if self._rows:
            columns = pyarrow.RecordBatch.from_pylist(self._rows, schema=_plain(self._schema)).columns
            pictures = [_pictures([row[IMAGE] for row in self._rows])] if IMAGE in self._schema.names else []
            self._opened().write_batch(pyarrow.RecordBatch.from_arrays([*pictures, *columns], schema=self._schema))
        self._rows, self._bytes = [], 0

    def _opened(self) -> "pyarrow.parquet.ParquetWriter":
        """The writer, once the first rows tell how large pictures are."""
        import pyarrow.parquet

        if self._writer is None:
            plain = _plain(self._schema).names
            # Pictures are compressed already: packing them again doubles the time for nothing.
            packing = dict.fromkeys(plain, "zstd") | {f"{IMAGE}.bytes": "none", f"{IMAGE}.path": "zstd"}
            self._writer = pyarrow.parquet.ParquetWriter(
                self._file, self._schema, version="2.6",
                compression=packing if IMAGE in self._schema.names else "zstd",
                use_dictionary=plain, write_statistics=plain,
                write_batch_size=max(1, _PAGE_BYTES * len(self._rows) // self._bytes) if self._bytes else None,
            )  # fmt: skip
        return self._writer


def _plain(schema: "pyarrow.Schema") -> "pyarrow.Schema":
    """What is no picture."""
    import pyarrow

    return pyarrow.schema([field for field in schema if field.name != IMAGE])


def _pictures(pictures: Sequence[Mapping[str, Any]]) -> "pyarrow.Array":
    """Their column. The bytes are copied once, which `from_pylist` does twice."""
    import pyarrow

    parts = [picture["bytes"] for picture in pictures]
    ends = list(accumulate(map(len, parts), initial=0))
    _, offsets = pyarrow.array(ends, pyarrow.int32()).buffers()
    data = pyarrow.BinaryArray.from_buffers(
        pyarrow.binary(), len(parts), [None, offsets, pyarrow.py_buffer(b"".join(parts))]
    )  # fmt: skip
    paths = pyarrow.array([picture["path"] for picture in pictures], pyarrow.string())
    return pyarrow.StructArray.from_arrays([data, paths], names=["bytes", "path"])


def row_schema(columns: Sequence[Column]) -> "pyarrow.Schema":
    """The columns of a shard's table."""
    import pyarrow

    fields = [pyarrow.field(column.name, _types()[column.type]) for column in columns]
    return pyarrow.schema(fields, metadata={"seedfarm_row_schema": str(ROW_SCHEMA)})


def picture_schema(columns: Sequence[Column], *, classes: Sequence[str] | None) -> "pyarrow.Schema":
    """Pictures, captions and columns, with what `datasets` needs to see pictures in it."""
    import pyarrow

    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    fields = [pyarrow.field(IMAGE, picture), pyarrow.field(TEXT, pyarrow.string())]
    features: dict[str, Any] = {IMAGE: {"_type": "Image"}, TEXT: {"dtype": "string", "_type": "Value"}}
    if classes is not None:
        fields.append(pyarrow.field(CLS, pyarrow.int64()))
        features[CLS] = {"names": list(classes), "_type": "ClassLabel"}
    for column in columns:
        fields.append(pyarrow.field(column.name, _types()[column.type]))
        features[column.name] = {"dtype": column.type, "_type": "Value"}
    info = json.dumps({"info": {"features": features}}, separators=(",", ":"))
    return pyarrow.schema(fields, metadata={"huggingface": info, "seedfarm_row_schema": str(ROW_SCHEMA)})


def _types() -> Mapping[str, Any]:
    import pyarrow

    return {
        "string": pyarrow.string(),
        "int64": pyarrow.int64(),
        "float64": pyarrow.float64(),
        "bool": pyarrow.bool_(),
    }
