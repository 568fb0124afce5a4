"""Trying again while the store is away: with backoff, jitter, and an ear for the order to stop."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from storage.errors import DiskFull, TransientError

log = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_S: Final = 0.2
LONGEST_S: Final = 15.0
SLICE_S: Final = 0.25  # how late an order to stop may be heard


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on: until `ends` says so. An action gets one try even then."""

    ends: Callable[[], bool]

    def insist(self, action: Callable[[], T], *, what: str) -> T:
        """Do `action`, and again while it raises TransientError or DiskFull.

        Raises:
            TransientError, DiskFull: It still fails, and patience has ended.
        """
        pause = FIRST_S
        while True:
            try:
                return action()
            except (TransientError, DiskFull) as error:
                if self.ends():
                    raise
                log.warning("trying again", extra={"what": what, "reason": error, "pause_s": round(pause, 1)})
            self._rest(pause * random.uniform(0.5, 1.5))  # noqa: S311  # jitter is no secret
            pause = min(2 * pause, LONGEST_S)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.ends():
            time.sleep(min(left, SLICE_S))
