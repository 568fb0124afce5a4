"""What the device's thread and the link tell each other: the present state, never a queue of events.

Each field has one writer and is replaced whole, so neither side needs a lock and neither ever waits for the other.
"""

import threading

from storage.wire.messages import Holding


class Level:
    """The state of one child."""

    def __init__(self) -> None:
        # Written by the device's thread (and `images` by the upload threads, under a lock).
        self.holding: Holding | None = None
        self.resident: tuple[str, ...] = ()
        self.task_id: str | None = None  # Celery's, for progress events
        # Written by the link and by the signal handler.
        self.stop_jobs: frozenset[str] = frozenset()
        self.stopping = threading.Event()  # this process is to end: it was told by a signal
        self._lock = threading.Lock()

    def hold(self, holding: Holding | None, *, task_id: str | None = None) -> None:
        """Take a chunk into the hands, or put it down (None)."""
        with self._lock:
            self.holding = holding
            self.task_id = task_id if holding else None

    def update(self, **changes: object) -> None:
        """Change fields of what is held: phase, step, steps."""
        with self._lock:
            if self.holding is not None:
                self.holding = self.holding.model_copy(update=changes)

    def count_stored(self) -> None:
        """One image more lies in the store."""
        with self._lock:
            if self.holding is not None:
                self.holding = self.holding.model_copy(update={"images": self.holding.images + 1})

    def must_stop(self, job: str) -> bool:
        """Whether a chunk of `job` is to end at the next step."""
        return self.stopping.is_set() or job in self.stop_jobs
