"""What a terminal shows while an export runs: a bar with images per second and ETA, or lines for a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from dispatcher.export.counting import Progress
from dispatcher.views.progress import Rate, duration
from dispatcher.wording import human

LINE_EVERY_S: Final = 5.0
_DRAW_EVERY_S: Final = 0.1


@contextmanager
def following(*, plain: bool, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Give what hears of every image, on stderr so that output can be piped."""
    if quiet:
        yield lambda _: None
        return
    console = Console(stderr=True)
    if plain or not console.is_terminal:
        yield _Lines().show
        return
    columns = (TextColumn("export"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console) as bar:
        yield _Drawn(bar).show


class _Paced:
    """Lets through what comes after a while, and the last."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._rate = Rate()
        self._began = self._last = time.monotonic()
        self._rate.add(0, now=self._began)

    def due(self, progress: Progress) -> bool:
        now = time.monotonic()
        if now - self._last < self._every_s and progress.done < progress.total:
            return False
        self._last = now
        self._rate.add(progress.done, now=now)
        return True

    def said(self, progress: Progress) -> str:
        speed = self._rate.per_second
        text = f"{human(progress.bytes)}, shard {min(progress.shards + 1, progress.of)}/{progress.of}"
        if speed is None:
            return text
        left = progress.total - progress.done
        return f"{text}  {speed:.0f} img/s" + (f"  ETA {duration(left / speed)}" if left else "")

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began


class _Lines(_Paced):
    def __init__(self) -> None:
        super().__init__(LINE_EVERY_S)

    def show(self, progress: Progress) -> None:
        if self.due(progress):
            line = f"{duration(self.elapsed_s):>7}  {progress.done}/{progress.total} images  {self.said(progress)}"
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


class _Drawn(_Paced):
    def __init__(self, bar: Bar) -> None:
        super().__init__(_DRAW_EVERY_S)
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def show(self, progress: Progress) -> None:
        if self.due(progress):
            said = self.said(progress)
            self._bar.update(self._task, completed=progress.done, total=progress.total, description=said)
