"""A worker who tells pictures as the test says, and a dispatcher who judges them."""

from collections.abc import Callable, Mapping
from typing import Any

from desk import DispatcherDesk

Look = Callable[[int], Mapping[str, Any]]
FLAT: dict[str, Any] = {"flags": ["low_variance"]}
REJECT = {"low_variance": "reject"}
AGAIN = {**REJECT, "on_reject": "next_seed"}


def work(desk: DispatcherDesk, look: Look, *, rounds: int = 30, judge: bool = True) -> None:
    """An honest worker does all there is, and the dispatcher judges; `look` says what a picture is told by."""
    for _ in range(rounds):
        while desk.feed() or desk.chunks():
            for chunk in desk.chunks():
                manifest = desk.manifest(chunk)
                for made in manifest["images"]:
                    made |= {"pixel_sha256": f"{made['number']:064x}", "phash": None, **look(made["number"])}
                desk.recorder.record(desk.put(manifest))
        if not judge or not desk.judge.judge():
            return
    raise AssertionError("the rounds never end")


def rejected(desk: DispatcherDesk, job_id: str) -> dict[int, str]:
    return {number: row.rejected for number, row in desk.images(job_id).items() if row.rejected is not None}


def flat(*numbers: int) -> Look:
    return lambda number: FLAT if number in numbers else {}
