"""Flat rows as parquet with typed columns: the table of a shard, or pictures and rows in one.

The same rows give the same bytes with one pyarrow: row groups are cut by the rows alone.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from dispatcher.export.shards.hashed import HashedFile
from dispatcher.provenance.columns import ROW_SCHEMA, Column

if TYPE_CHECKING:
    import pyarrow

GROUP_ROWS: Final = 1000
GROUP_BYTES: Final = 32 * 2**20  # of pictures; viewers want row groups below 100 MB
IMAGE, TEXT, CLS = "image", "text", "cls"


class TableWriter:
    """Writes rows into a parquet file, a group at a time."""

    def __init__(self, file: HashedFile, schema: "pyarrow.Schema") -> None:
        import pyarrow.parquet

        self._schema = schema
        plain = [name for name in schema.names if name != IMAGE]
        # Pictures are compressed already: packing them again doubles the time for nothing.
        packing = dict.fromkeys(plain, "zstd") | {f"{IMAGE}.bytes": "none", f"{IMAGE}.path": "zstd"}
        self._writer = pyarrow.parquet.ParquetWriter(
            file, schema, version="2.6", compression=packing if IMAGE in schema.names else "zstd",
            use_dictionary=plain, write_statistics=plain,
        )  # fmt: skip
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
        self._writer.close()

    def abandon(self) -> None:
        """End without what is missing: the writer must not outlive its file."""
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        if self._rows:
            self._writer.write_batch(pyarrow.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows, self._bytes = [], 0


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
