"""What a terminal shows while a job renders: a bar, who does what, the newest pictures. Or lines for a log."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dispatcher.views.mosaic import mosaic
from dispatcher.views.progress import Progress, Rate, describe_worker, duration
from storage.states import JobState

MOSAIC_LINES = 8
MAX_WORKERS = 8
LINE_EVERY_S = 5.0
SHOWN_PICTURES = 12


class Screen(Protocol):
    """Shows readings of a job."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, progress: Progress, pictures: Sequence[bytes]) -> None:
        """Take in one reading and the images that came with it, oldest first."""


class LiveScreen:
    """Draws in place, four times a second at most."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=False)
        self._rate = Rate()
        self._began = time.monotonic()
        self._newest: deque[bytes] = deque(maxlen=SHOWN_PICTURES)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, progress: Progress, pictures: Sequence[bytes]) -> None:
        """Redraw."""
        self._newest.extendleft(pictures)
        now = time.monotonic()
        self._rate.add(progress.ended, now=now)
        width = min(100, self._console.width)
        parts: list[RenderableType] = [
            _headline(progress, self._rate, elapsed=now - self._began),
            _bar(progress, width),
        ]
        if self._newest:
            parts.append(mosaic(list(self._newest), width=width, rows=MOSAIC_LINES))
        if not progress.is_over:
            parts.append(_workers(progress, width))
        self._live.update(Group(*parts))


class LineScreen:
    """Prints a line when something changed, at most every few seconds."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._began = time.monotonic()
        self._last = ("", float("-inf"))
        self._was_paused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, progress: Progress, pictures: Sequence[bytes]) -> None:  # noqa: ARG002
        """Print, if there is something to say."""
        now = time.monotonic()
        self._rate.add(progress.ended, now=now)
        text, when = self._last
        line = _headline(progress, self._rate, elapsed=None).plain
        is_paused = progress.row.state == JobState.PAUSED
        turns = is_paused != self._was_paused or progress.is_over  # told at once
        self._was_paused = is_paused
        if line != text and (now - when >= LINE_EVERY_S or turns):
            sys.stdout.write(f"{duration(now - self._began):>7}  {line}\n")
            sys.stdout.flush()
            self._last = (line, now)


def make_screen(*, plain: bool) -> Screen:
    """A live screen on a terminal, lines elsewhere."""
    console = Console()
    return LineScreen() if plain or not console.is_terminal else LiveScreen(console)


def _headline(progress: Progress, rate: Rate, *, elapsed: float | None) -> Text:
    row, speed = progress.row, rate.per_second
    text = Text.assemble((row.name, "bold"), f"  {progress.ended}/{row.images} images")
    if row.failed:
        text.append(f", {row.failed} failed", style="red")
    if row.rejected:
        text.append(f", {row.rejected} rejected", style="yellow")
    if speed is not None and not progress.is_over:
        text.append(f"  {speed:.1f} img/s  ETA {duration((row.images - progress.ended) / speed)}")
    if progress.is_over:
        text.append(f"  {row.state}", style="green" if row.state == "done" and not row.failed else "red")
    elif progress.waits_for:
        text.append(f"  {progress.waits_for}", style="yellow")
    if elapsed is not None:
        text.append(f"  {duration(elapsed)}", style="dim")
    return text


def _bar(progress: Progress, width: int) -> RenderableType:
    return ProgressBar(total=max(1, progress.row.images), completed=progress.ended, width=width)


def _workers(progress: Progress, width: int) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.width = width
    for beat in progress.workers[:MAX_WORKERS]:
        table.add_row(Text(beat.node, style="cyan"), Text(beat.device, style="dim"), describe_worker(beat))
    if len(progress.workers) > MAX_WORKERS:
        table.add_row(f"and {len(progress.workers) - MAX_WORKERS} more")
    return table
