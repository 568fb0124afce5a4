"""Loaded by every Python process that has this folder on its path: shifts the wall clock by what a file says.

SEEDFARM_CLOCK names a file with a number of seconds; it may be rewritten while the process runs, which makes the
clock jump. Only the wall clock: the monotonic one of a kernel never jumps.
"""

import os
import time
from pathlib import Path

_FILE = os.environ.get("SEEDFARM_CLOCK")

if _FILE:
    _place, _time = Path(_FILE), time.time

    def _shift() -> float:
        try:
            return float(_place.read_text())
        except (OSError, ValueError):
            return 0.0

    time.time = lambda: _time() + _shift()
    time.time_ns = lambda: int(1e9 * time.time())
