"""Trying again while the store is away: with backoff, jitter, and an ear for the order to stop.

A store may also hang: a network that swallows packets costs minutes until a client gives up. So the store is asked on
a thread beside, which is left behind when time is up. What that thread still does is no harm: an object is put whole
or not at all, and putting it twice gives the same object.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeVar

from storage.errors import DiskFull, TransientError

log = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_S: Final = 0.2
LONGEST_S: Final = 15.0
LAST_TRY_S: Final = 3.0  # that a try may go on after the end: a store that is there takes an image in less
SLOW_S: Final = 10.0  # without an answer, after which it is said that the store is silent
SLICE_S: Final = 0.25  # how late an order to stop may be heard
_FLOOR_S: Final = 0.5  # of a last try, however the times are scaled

_Kinds = type[Exception] | tuple[type[Exception], ...]


class StoreSilent(TransientError):
    """The store did not answer before patience ended. Args: what it was asked for."""

    text = "{0}: the object store is silent"


def _nobody(_: str | None) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on: until `ends` says so. An action gets one try even then."""

    ends: Callable[[], bool]
    scale: float = 1.0  # FARM_TIME_SCALE
    tell: Callable[[str | None], None] = _nobody  # hears, for people, what is waited for; None: nothing any more

    def insist(self, action: Callable[[], T], *, what: str, limit_s: float | None = None) -> T:
        """Ask the store, on a thread beside, and again while `action` raises TransientError or DiskFull.

        Args:
            action: It may be left behind unfinished, and has to bear that.
            what: Name of the object, for the log.
            limit_s: When the last try may begin; None: only `ends` counts.

        Raises:
            TransientError, DiskFull: It still fails, and patience has ended.
        """
        until = None if limit_s is None else time.monotonic() + limit_s * self.scale
        return self._repeat(lambda: self._beside(action, what=what, until=until), what=what, until=until)

    def insist_here(self, action: Callable[[], T], *, what: str) -> T:
        """Do `action` on this thread, and again while it raises TransientError: for what belongs to it.

        Raises:
            TransientError: It still fails, and patience has ended.
        """
        return self._repeat(action, what=what, until=None, waits_for=TransientError)

    def rest(self, seconds: float) -> None:
        """Wait `seconds`, or until patience ends."""
        end = time.monotonic() + seconds * self.scale
        while (left := end - time.monotonic()) > 0 and not self.ends():
            time.sleep(min(left, SLICE_S))

    def _repeat(
        self, action: Callable[[], T], *, what: str, until: float | None, waits_for: _Kinds = (TransientError, DiskFull)
    ) -> T:
        try:
            return self._try(action, what=what, until=until, waits_for=waits_for)
        finally:
            self.tell(None)

    def _try(self, action: Callable[[], T], *, what: str, until: float | None, waits_for: _Kinds) -> T:
        pause = FIRST_S
        while True:
            try:
                return action()
            except waits_for as error:
                if self._over(until):
                    raise
                log.warning("trying again", extra={"what": what, "reason": error, "pause_s": round(pause, 1)})
                self.tell(f"waits for {what}: {error}")
            self.rest(pause * random.uniform(0.5, 1.5))  # noqa: S311  # jitter is no secret
            pause = min(2 * pause, LONGEST_S)

    def _beside(self, action: Callable[[], T], *, what: str, until: float | None) -> T:
        answer: Future[T] = Future()
        threading.Thread(target=_carry_out, args=(action, answer), name="store", daemon=True).start()
        end: float | None = None
        slow = time.monotonic() + SLOW_S * self.scale
        while True:
            try:
                return answer.result(timeout=SLICE_S)
            except TimeoutError:
                if answer.done():  # it is the action's own
                    raise
            if time.monotonic() >= slow:
                self.tell(f"waits for {what}: the object store is silent")
            if self._over(until):
                end = end or time.monotonic() + max(_FLOOR_S, LAST_TRY_S * self.scale)
                if time.monotonic() >= end:
                    raise StoreSilent(what)

    def _over(self, until: float | None) -> bool:
        return self.ends() or (until is not None and time.monotonic() >= until)


def _carry_out(action: Callable[[], T], answer: "Future[T]") -> None:
    try:
        answer.set_result(action())
    except BaseException as error:  # noqa: BLE001  # it belongs to the one who asked
        answer.set_exception(error)
