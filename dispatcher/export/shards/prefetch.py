"""Work done ahead by several threads, handed over in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_AHEAD = 4  # items per thread: enough that a slow one does not stop the others, few enough to hold in memory
_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def in_order(
    items: Iterable[_Item], work: Callable[[_Item], _Done], *, pool: ThreadPoolExecutor, threads: int
) -> Iterator[_Done]:
    """Results of `work`, in the order of the items; a bounded number of them is under way.

    An error is raised where its item's turn comes, so that what comes before it is handed over first.
    """
    waiting: deque[Future[_Done]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= threads * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
