"""Pictures as files beside a `metadata.jsonl`, as the imagefolder loader of `datasets` reads them.

A shard is a folder, so that no folder grows beyond what the Hub takes. Its metadata.jsonl comes last and holds the
hash of every picture.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar

from dispatcher.export.formats.layout import Layout, ShardWriter
from dispatcher.export.planning import PlannedShard
from dispatcher.export.shards.hashed import HashedFile
from dispatcher.export.shards.sample import Sample, side_row
from dispatcher.export.shards.tables import CLS, TEXT
from storage.spec import canonical
from storage.sql.images import ImageRow


class ImageFolderLayout(Layout):
    """`data/train/000000/`: KEY.png and metadata.jsonl."""

    most_images: ClassVar[int] = 5000
    places_files: ClassVar[bool] = True

    def shard_name(self, planned: PlannedShard) -> str:
        """See `Layout.shard_name`."""
        return f"{_folder(planned)}/metadata.jsonl"

    def file_name(self, planned: PlannedShard, key: str, suffix: str, image: ImageRow) -> str:  # noqa: ARG002
        """See `Layout.file_name`."""
        return f"{_folder(planned)}/{key}.{suffix}"

    def files(self, sample: Sample) -> Mapping[str, bytes]:
        """See `Layout.files`."""
        return {sample.file_name: sample.data}

    def writer(self, file: HashedFile) -> ShardWriter:
        """See `Layout.writer`."""
        return _Lines(file, self)


class _Lines(ShardWriter):
    def __init__(self, file: HashedFile, layout: Layout) -> None:
        self._file = file
        self._columns = layout.setting.columns

    def add(self, sample: Sample) -> None:
        said: dict[str, Any] = {"file_name": PurePosixPath(sample.file_name).name, TEXT: sample.caption}
        if sample.cls is not None:
            said[CLS] = sample.cls
        self._file.write(canonical({**side_row(sample.row, self._columns), **said}) + b"\n")

    def close(self) -> None:
        pass


def _folder(planned: PlannedShard) -> str:
    return f"data/{planned.split}/{planned.place:06d}"
