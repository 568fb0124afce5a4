"""How far a long copy is, said once in ten per cent."""

import logging
from collections.abc import Callable
from threading import Lock
from typing import Final

log = logging.getLogger(__name__)

Say = Callable[[int, int], None]  # hears (bytes done, bytes in all)
STEPS: Final = 10  # of equal size


class Progress:
    """Counts bytes and says so at each tenth. May be told from several threads."""

    def __init__(self, total: int, say: Say) -> None:
        """Count up to `total` bytes; `say` hears (bytes done, total)."""
        self._total = total
        self._say = say
        self._done = 0
        self._said = 0
        self._lock = Lock()

    def tell(self, count: int) -> None:
        """So many bytes more are done."""
        with self._lock:
            self._done += count
            step = STEPS * self._done // self._total if self._total else STEPS
            if step <= self._said:
                return
            self._said = step
        self._say(min(self._done, self._total), self._total)


def logged(source: str) -> Say:
    """Say how far the fetching of a model is in log lines."""
    return lambda done, total: log.info(
        "model fetching", extra={"model": source, "megabytes": done // 10**6, "of": total // 10**6}
    )
