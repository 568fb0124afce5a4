"""Tar shards as webdataset and `datasets` read them: for each image its members side by side, named by its key.

Plain USTAR, the same bytes for the same samples: members carry no time, owner or other trace of the machine.
"""

import tarfile
from typing import Final

from dispatcher.export.formats.layout import Layout, ShardWriter
from dispatcher.export.planning import PlannedShard
from dispatcher.export.shards.hashed import HashedFile
from dispatcher.export.shards.sample import Sample, side_row
from storage.spec import canonical
from storage.sql.images import ImageRow

_MODE: Final = 0o444
_END: Final = 2 * tarfile.BLOCKSIZE


class WebDatasetLayout(Layout):
    """`data/train-000000.tar`: KEY.json, KEY.png, KEY.txt, and KEY.cls where a class column was chosen."""

    def shard_name(self, planned: PlannedShard) -> str:
        """See `Layout.shard_name`."""
        return f"data/{planned.stem}.tar"

    def file_name(self, planned: PlannedShard, key: str, suffix: str, image: ImageRow) -> str:  # noqa: ARG002
        """See `Layout.file_name`."""
        return f"{key}.{suffix}"

    def writer(self, file: HashedFile) -> ShardWriter:
        """See `Layout.writer`."""
        return _Tar(file, self)


class _Tar(ShardWriter):
    def __init__(self, file: HashedFile, layout: Layout) -> None:
        self._file = file
        self._columns = layout.setting.columns

    def add(self, sample: Sample) -> None:
        if sample.cls is not None:
            self._member(f"{sample.key}.cls", str(sample.cls).encode())
        self._member(f"{sample.key}.json", canonical(side_row(sample.row, self._columns)))
        self._member(sample.file_name, sample.data)
        self._member(f"{sample.key}.txt", sample.caption.encode())

    def close(self) -> None:
        rest = -(self._file.bytes + _END) % tarfile.RECORDSIZE
        self._file.write(bytes(_END + rest))

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), _MODE
        self._file.write(info.tobuf(tarfile.USTAR_FORMAT))
        self._file.write(data)
        self._file.write(bytes(-len(data) % tarfile.BLOCKSIZE))
