"""Pictures and rows in parquet: a column that `datasets` decodes as pictures, a caption, and every column of the row.

The bytes of each picture stay as they are, so what is embedded in them survives.
"""

from typing import ClassVar

from dispatcher.export.formats.layout import Layout, ShardWriter
from dispatcher.export.planning import PlannedShard
from dispatcher.export.shards.hashed import HashedFile
from dispatcher.export.shards.sample import Sample
from dispatcher.export.shards.tables import CLS, IMAGE, TEXT, TableWriter, picture_schema
from storage.sql.images import ImageRow


class ParquetLayout(Layout):
    """`data/train-000000.parquet`."""

    aim_bytes: ClassVar[int] = 5 * 10**8

    def shard_name(self, planned: PlannedShard) -> str:
        """See `Layout.shard_name`."""
        return f"data/{planned.stem}.parquet"

    def file_name(self, planned: PlannedShard, key: str, suffix: str, image: ImageRow) -> str:  # noqa: ARG002
        """See `Layout.file_name`."""
        return f"{key}.{suffix}"

    def writer(self, file: HashedFile) -> ShardWriter:
        """See `Layout.writer`."""
        return _Pictures(TableWriter(file, picture_schema(self.setting.columns, classes=self.setting.classes)))


class _Pictures(ShardWriter):
    def __init__(self, table: TableWriter) -> None:
        self._table = table

    def add(self, sample: Sample) -> None:
        picture = {"bytes": sample.data, "path": sample.file_name}
        more = {} if sample.cls is None else {CLS: sample.cls}
        self._table.add({**sample.row, IMAGE: picture, TEXT: sample.caption, **more}, size=sample.size)

    def close(self) -> None:
        self._table.close()

    def abandon(self) -> None:
        self._table.abandon()
