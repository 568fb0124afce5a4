"""Whether the store is worth asking. Without this every upload would find out by itself, at the price of a timeout."""

import threading
import time
from typing import Final

SHORT_S: Final = 5.0  # that a store which was there may take to come back before it counts as away
FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 15.0


class Gate:
    """Open while the store answers; while it is away, one caller at a time is let through, less and less often."""

    def __init__(self, *, scale: float) -> None:
        """Begin open; `scale` multiplies all times."""
        self.reason: str | None = None  # why the store counts as away; None: it does not
        self._scale = scale
        self._rest_s = FIRST_REST_S
        self._due = 0.0
        self._lock = threading.Lock()

    def ask(self) -> float | None:
        """How many seconds to go on asking; 0 is one try, None: not now."""
        with self._lock:
            if self.reason is None:
                return SHORT_S
            now = time.monotonic()
            if now < self._due:
                return None
            self._due = now + self._rest_s * self._scale
            return 0.0

    def answered(self) -> bool:
        """The store took something. Returns whether it had been away."""
        with self._lock:
            was_away = self.reason is not None
            self.reason, self._rest_s = None, FIRST_REST_S
            return was_away

    def refused(self, reason: Exception) -> bool:
        """The store took nothing, for as long as the caller went on. Returns whether that is news."""
        with self._lock:
            news = self.reason is None
            self.reason = str(reason)
            self._due = time.monotonic() + self._rest_s * self._scale
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
            return news
