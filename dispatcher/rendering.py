"""One job from spec to sheet on an embedded farm: what `farm run`, `farm demo` and `farm check --sample` do."""

import shlex
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click

from dispatcher.embedded.host import EmbeddedFarm
from dispatcher.farm import Farm
from dispatcher.inputs import say_inputs
from dispatcher.planning.terms import Terms
from dispatcher.service.broker import Broker
from dispatcher.submission import NO_TERMS, submit
from dispatcher.views.contact import Arrangement, SheetFiles, draw_sheet, write_sheet
from dispatcher.views.gallery import Gallery
from dispatcher.views.progress import Progress, duration
from dispatcher.views.screen import make_screen
from dispatcher.views.watching import follow
from dispatcher.wording import counted
from storage.spec import Spec
from storage.sql import images
from storage.sql.jobs import JobRow
from storage.states import JobState, Wish

SHEET_IMAGES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to render."""

    out: Path | None  # None: outputs/NAME-ID
    pattern: str
    devices: str
    plain: bool
    new: bool
    chunk_s: float
    terms: Terms = NO_TERMS
    arrangement: Arrangement = field(default_factory=lambda: Arrangement(limit=SHEET_IMAGES))


class _Stop:
    """The first Ctrl-C asks to stop, the second one stops at once."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self.asked = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            self._kill()
            raise SystemExit(130)
        self.asked = True
        click.echo("\nstopping; Ctrl-C again stops at once", err=True)
        raise KeyboardInterrupt


def render(farm: Farm, spec: Spec, *, source: str, options: Options) -> int:
    """Submit, render to the end, write images and sheet, say where they are. Returns the exit code."""
    submission = submit(
        spec, settings=farm.settings, database=farm.database, store=farm.store, source=source, new=options.new,
        say=say_inputs, terms=options.terms,
    )  # fmt: skip
    row = submission.row
    out = options.out or Path("outputs") / f"{row.name}-{row.id}"
    _announce(row, is_new=submission.is_new)
    if submission.is_longer:
        click.echo(f"it was extended since, to {counted(row.images, 'image')}; --new renders this file alone")
    gallery = Gallery(out, pattern=options.pattern, database=farm.database, store=farm.store)
    if row.is_open:
        progress = _render(farm, row, gallery=gallery, options=options)
        if progress is None:
            where = "" if options.out is None else f" --out {shlex.quote(str(options.out))}"
            click.echo(f"stopped; nothing is lost. Go on with: ./farm {source}{where}")
            return 130
        row = progress.row
    else:
        gallery.fill(row.id, again=True)
    return report(farm, row, out=out, arrangement=options.arrangement)


def report(farm: Farm, row: JobRow, *, out: Path, arrangement: Arrangement) -> int:
    """Draw the sheet and say how the job ended. Returns the exit code."""
    if row.state in (JobState.FAILED, JobState.CANCELLED, JobState.STOPPED):
        click.echo(f"farm: job {row.name} {row.state}{f': {row.reason}' if row.reason else ''}", err=True)
        return 1
    sheet = write_sheet(draw_sheet(farm, row, arrangement), out)
    _print_places(farm, row, out, sheet)
    if row.short:
        click.echo(f"farm: its rules ask for more accepted images than there are; see 'farm logs {row.id}'", err=True)
    if row.failed:
        with farm.database.read() as connection:
            for reason, detail, times in images.failures(connection, row.id, limit=3):
                click.echo(f"farm: {times} images failed ({reason}): {detail}", err=True)
        return 1
    return 0


def _render(farm: Farm, row: JobRow, *, gallery: Gallery, options: Options) -> Progress | None:
    settings = farm.settings.model_copy(update={"chunk_s": min(farm.settings.chunk_s, options.chunk_s)})
    embedded = EmbeddedFarm(settings, devices=options.devices)
    stop = _Stop(embedded.kill)
    before = signal.signal(signal.SIGINT, stop)
    terminate = signal.signal(signal.SIGTERM, stop)
    try:
        with embedded:
            screen = make_screen(plain=options.plain)
            broker = Broker(embedded.broker_url)
            return follow(farm, row.id, broker=broker, screen=screen, gallery=gallery, tend=embedded.tend)
    except KeyboardInterrupt:
        return None
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, terminate)


def _announce(row: JobRow, *, is_new: bool) -> None:
    if is_new:
        click.echo(f"job {row.name} ({row.id}): {counted(row.images, 'image')}")
    elif row.state in (JobState.PAUSED, JobState.STOPPED) and row.wish != Wish.RESUME:
        click.echo(f"job {row.name} ({row.id}) is {row.state}; './farm resume {row.id}' goes on")
    elif row.is_open:
        click.echo(f"job {row.name} ({row.id}) goes on: {row.done + row.failed} of {row.images} images are there")
    else:
        click.echo(f"job {row.name} ({row.id}) is done already; --new renders it again")


def _print_places(farm: Farm, row: JobRow, out: Path, sheet: SheetFiles) -> None:
    took = (
        "" if row.finished_at is None or row.started_at is None else f" in {duration(row.finished_at - row.started_at)}"
    )
    with farm.database.read() as connection:
        flags = images.flag_counts(connection, row.id)
    counts = {"failed": row.failed, "rejected": row.rejected, **flags}
    beside = "".join(f", {count} {what}" for what, count in counts.items() if count)
    click.echo(f"\n{counted(row.done, 'image')} made{beside}{took}\n")
    click.echo(f"  images    {out}/")
    click.echo(f"  sheet     {sheet.html}")
    for page in sheet.png:
        click.echo(f"            {page}")
    click.echo(f"  store     {farm.store.locate(f'jobs/{row.id}')}")
    click.echo(f"  database  {farm.database.address}")
