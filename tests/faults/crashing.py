"""A dispatcher that dies at a named line: `python -m faults.crashing POINT:CALL dispatcher`.

The product knows nothing of this. The method that holds the line is wrapped here, and at its n-th call the process
ends at once, without any clean-up, as a kill -9 would end it there.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

EXIT_CODE = 9


class Point(NamedTuple):
    """A method, and whether the process ends before or after it; after it still means inside the caller."""

    module: str
    method: str
    after: bool = False


POINTS = {
    "chunk row written, nothing published": Point("dispatcher.service.broker", "Broker.allow"),
    "token written, message not sent": Point("dispatcher.service.broker", "Broker.send"),
    "message sent": Point("dispatcher.service.broker", "Broker.send", after=True),
    "manifest there, nothing recorded": Point("dispatcher.service.recording.recorder", "Recorder.record"),
    "inside the recording transaction": Point("storage.sql.images", "add", after=True),
    "recorded, nothing told": Point("dispatcher.service.recording.recorder", "Recorder.record", after=True),
    "lost chunk found, nothing done": Point("storage.sql.chunks", "offer_again"),
    "lost chunk offered again, not committed": Point("storage.sql.chunks", "offer_again", after=True),
    "suspects found, nothing done": Point("dispatcher.service.recording.recorder", "Recorder.accuse"),
    "suspects parted, not committed": Point("dispatcher.service.recording.outcomes", "_add_chunk", after=True),
    "recorded, note not written": Point("dispatcher.service.recording.noting", "write_note"),
    "note written, not marked": Point("dispatcher.service.recording.noting", "Notes._mark"),
}


def plant(point: str, *, call: int) -> None:
    """Wrap the method of a point. Raises SystemExit where the product has no such method any more."""
    place = POINTS[point]
    owner: Any = importlib.import_module(place.module)
    *path, name = place.method.split(".")
    for step in path:
        owner = getattr(owner, step, None)
    wrapped: Callable[..., Any] | None = getattr(owner, name, None)
    if wrapped is None:
        sys.exit(f"faults.crashing: {place.module} has no {place.method}; point {point!r} must be moved")
    calls = 0

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= call and not place.after:
            os._exit(EXIT_CODE)
        result = wrapped(*arguments, **named)
        if calls >= call:
            os._exit(EXIT_CODE)
        return result

    setattr(owner, name, dying)


def main() -> None:
    """Plant the point, then be `farm` with the rest of the arguments."""
    point, _, call = sys.argv.pop(1).rpartition(":")
    plant(point, call=int(call))
    from dispatcher.cli import main as farm

    farm()


if __name__ == "__main__":
    main()
