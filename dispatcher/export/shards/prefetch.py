"""Work done ahead by several threads, handed over in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def in_order(
    items: Iterable[_Item], work: Callable[[_Item], _Done], *, pool: ThreadPoolExecutor, ahead: int,
    drop: Callable[[_Done], object] = lambda _: None,
) -> Iterator[_Done]:  # fmt: skip
    """Results of `work`, in the order of the items; at most `ahead` of them are under way.

    An error is raised where its item's turn comes, so that what comes before it is handed over first. Results that
    nobody takes any more, since the iteration was closed or an error was raised, go to `drop`.
    """
    waiting: deque[Future[_Done]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    finally:
        for future in waiting:
            if not future.cancel():
                future.add_done_callback(lambda ended: ended.exception() or drop(ended.result()))


def _first(waiting: deque[Future[_Done]]) -> _Done:
    done = waiting[0].result()  # which stays in line until then: an interrupt may come while it is waited for
    waiting.popleft()
    return done
