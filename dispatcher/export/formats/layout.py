"""What every layout says of itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dispatcher.export.planning import PlannedShard
from dispatcher.export.shards.hashed import HashedFile
from dispatcher.export.shards.sample import Sample
from dispatcher.provenance.columns import Column
from storage.sql.images import ImageRow


class ShardWriter(ABC):
    """Fills the file of one shard."""

    @abstractmethod
    def add(self, sample: Sample) -> None:
        """Append a sample."""

    @abstractmethod
    def close(self) -> None:
        """Write what comes last; the file stays open."""

    def abandon(self) -> None:  # noqa: B027  # most hold nothing
        """Let go of what is open: the shard is not to be finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a layout needs to know of the export."""

    columns: Sequence[Column]
    classes: Sequence[str] | None = None  # None: no class column
    captions: bool = False
    name: str | None = None


class Layout(ABC):
    """One kind of data set."""

    aim_bytes: ClassVar[int] = 10**9  # of a shard
    most_images: ClassVar[int] = 10_000  # of a shard
    places_files: ClassVar[bool] = False  # whether each picture is a file of the data set

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @abstractmethod
    def shard_name(self, planned: PlannedShard) -> str:
        """The file that names the shard."""

    def metadata_name(self, planned: PlannedShard) -> str:
        """The table of its rows."""
        return f"metadata/{planned.stem}.parquet"

    @abstractmethod
    def file_name(self, planned: PlannedShard, key: str, suffix: str, image: ImageRow) -> str:
        """What a picture is called: in the shard, or in the whole data set where pictures are files."""

    def files(self, sample: Sample) -> Mapping[str, bytes]:  # noqa: ARG002  # of most layouts, none
        """Files of one sample that are put where they stay."""
        return {}

    @abstractmethod
    def writer(self, file: HashedFile) -> ShardWriter | None:
        """What fills the shard's file; None if the table of its rows is all there is."""
