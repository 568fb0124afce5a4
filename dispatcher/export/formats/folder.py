"""Pictures as files and nothing else, or with a `.txt` caption beside each, as trainers take them.

A shard is a part of the folder; the table of its rows, which holds the hash of every picture, stands for it.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import ClassVar

from dispatcher.export.formats.layout import Layout
from dispatcher.export.planning import PlannedShard
from dispatcher.export.shards.hashed import HashedFile
from dispatcher.export.shards.sample import Sample
from dispatcher.views.naming import file_name
from storage.pictures import SUFFIXES
from storage.sql.images import ImageRow


class FolderLayout(Layout):
    """`data/train/KEY.png` and KEY.txt; with a name pattern KEY_NAME.png."""

    most_images: ClassVar[int] = 5000
    places_files: ClassVar[bool] = True

    def shard_name(self, planned: PlannedShard) -> str:
        """See `Layout.shard_name`."""
        return self.metadata_name(planned)

    def file_name(self, planned: PlannedShard, key: str, suffix: str, image: ImageRow) -> str:
        """See `Layout.file_name`. The key in front keeps names apart and in order, whatever the pattern."""
        if self.setting.name is None:
            return f"data/{planned.split}/{key}.{suffix}"
        said = PurePosixPath(file_name(self.setting.name, image))
        named = PurePosixPath(f"{key}_{said.name}")  # with the suffix of the object, which may be of another format
        stem = named.stem if named.suffix.lower() in SUFFIXES else named.name
        return str(PurePosixPath("data", planned.split, *said.parent.parts, f"{stem}.{suffix}"))

    def files(self, sample: Sample) -> Mapping[str, bytes]:
        """See `Layout.files`."""
        picture = {sample.file_name: sample.data}
        if not self.setting.captions:
            return picture
        return {**picture, caption_name(sample.file_name): sample.caption.encode()}

    def writer(self, file: HashedFile) -> None:  # noqa: ARG002
        """See `Layout.writer`."""
        return


def caption_name(file_name: str) -> str:
    """The text beside a picture."""
    return str(PurePosixPath(file_name).with_suffix(".txt"))
