"""How far an export is: counted by the threads that fill its shards, heard by whoever shows it."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far it is."""

    done: int  # images of this run
    total: int
    bytes: int
    shards: int  # finished, those of earlier runs included
    of: int


Say = Callable[[Progress], None]


class Count:
    """The progress of one run. May be used from several threads; `say` is called by one of them at a time."""

    def __init__(self, say: Say, begun: Progress) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._is_stopped = False
        self.progress = begun

    def add(self, size: int) -> None:
        """One more picture, of so many bytes, is in its shard. Raises CancelledError after `stop`."""
        with self._lock:
            if self._is_stopped:
                raise CancelledError
            self.progress = replace(self.progress, done=self.progress.done + 1, bytes=self.progress.bytes + size)
            self._say(self.progress)

    def finished(self, shards: int) -> None:
        """So many shards are in their places; not said before the next picture, or `last`."""
        with self._lock:
            self.progress = replace(self.progress, shards=shards)

    def last(self) -> None:
        """Say the end, unless nothing was to be done."""
        with self._lock:
            if self.progress.done:
                self._say(self.progress)

    def stop(self) -> None:
        """Have the threads end at their next picture."""
        with self._lock:
            self._is_stopped = True
