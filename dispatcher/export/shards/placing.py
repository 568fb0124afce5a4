"""Finished shards on their way from drafts to their places in the target, while the next shard is filled.

Placing waits for the disk or the network and filling for the processor: done in turn, each would stand still for the
other. One shard is placed at a time, so that at most two lie in drafts.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dispatcher.export.index import Shard
from dispatcher.export.targets import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Drafted:
    """A shard that is whole and lies in drafts."""

    name: str
    shard: Shard
    files: Mapping[str, Path]  # name in the target to its draft, in the order of placing: the table comes first
    drafts: ExitStack  # removes them

    def place(self, target: Target) -> tuple[str, Shard]:
        """Bring the files to their places. Raises StoreAway, DiskFull."""
        with self.drafts:
            for name, draft in self.files.items():
                target.take(name, draft)
        return self.name, self.shard


class Placing:
    """Places shards, one behind the other, in a thread of its own."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="export-place")
        self._under_way: Future[tuple[str, Shard]] | None = None

    def begin(self, drafted: Drafted) -> tuple[tuple[str, Shard], ...]:
        """Place a shard behind the one under way; gives the latter, now in its place. Raises StoreAway, DiskFull."""
        try:
            placed = self.wait()
        except BaseException:
            drafted.drafts.close()
            raise
        self._under_way = self._thread.submit(drafted.place, self._target)
        return placed

    def wait(self) -> tuple[tuple[str, Shard], ...]:
        """The shard under way, once it is in its place; nothing where none is. Raises StoreAway, DiskFull."""
        under_way, self._under_way = self._under_way, None
        return () if under_way is None else (under_way.result(),)

    def close(self) -> None:
        """Wait for what is under way, and end the thread."""
        self._thread.shutdown(wait=True)
