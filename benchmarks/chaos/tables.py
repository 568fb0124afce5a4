"""Small helpers of both tables."""

import os
import platform
import sys
import time
from collections.abc import Sequence

Row = Sequence[object]


def markdown(head: Row, rows: Sequence[Row]) -> str:
    """A table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def machine() -> str:
    """Where and when, for the line below a table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d', time.gmtime())}"


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)
