"""Encoding and storing beside the rendering: a few threads behind a bounded queue.

A queue without bounds would hold a job in memory when the store is slow. So the device's thread waits when the queue
is full, and previews, which nobody has to have, are left out before that.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

log = logging.getLogger(__name__)

PLACES_PER_THREAD: Final = 4
_LISTEN_S: Final = 0.25


class Uploads:
    """The upload threads of a child. `finish` belongs to one run at a time."""

    def __init__(self, threads: int) -> None:
        self._places = PLACES_PER_THREAD * threads
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="upload")
        self._free = threading.Semaphore(self._places)
        self._pending: set[Future[None]] = set()
        self._lock = threading.Lock()

    @property
    def crowded(self) -> bool:
        """Whether the device's thread is about to wait."""
        with self._lock:
            return len(self._pending) >= self._places - 1

    def submit(self, work: Callable[[], None], *, ends: Callable[[], bool]) -> bool:
        """Have `work` done by a thread; waits for a free place.

        Args:
            work: Errors that it raises are logged, and end there.
            ends: Asked while waiting; once true, the work is not taken.

        Returns:
            Whether it was taken.
        """
        while not self._free.acquire(timeout=_LISTEN_S):
            if ends():
                return False
        future = self._pool.submit(work)
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._settle)
        return True

    def finish(self) -> None:
        """Wait until all that was taken is done."""
        while True:
            with self._lock:
                pending = set(self._pending)
            if not pending:
                return
            wait(pending)

    def _settle(self, future: "Future[None]") -> None:
        with self._lock:
            self._pending.discard(future)
        self._free.release()
        error = future.exception()
        if error is not None:
            log.error("image not stored", extra={"reason": f"{type(error).__name__}: {error}"})
