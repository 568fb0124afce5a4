"""Commands that wish something of a job: pause, resume, cancel, retry. They write what is wished; a dispatcher acts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click

from dispatcher.cli.common import job_argument, open_farm
from dispatcher.farm import Farm
from dispatcher.wording import counted
from storage.errors import UserError
from storage.states import JobState, Priority, Wish

_NAMED = 20  # images in one line
hours_option = click.option(
    "--max-device-hours", type=click.FloatRange(0, min_open=True), metavar="H",
    help="Stop the job once its chunks spent so many hours of devices.",
)  # fmt: skip
deadline_option = click.option(
    "--deadline", metavar="WHEN", help="Stop the job then: a time such as 2031-05-01T18:00, or +90m, +2h."
)


def terms_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --priority, --deadline and --max-device-hours."""
    classes = click.Choice([str(priority) for priority in Priority])
    priority = click.option("--priority", type=classes, help="Which jobs go ahead of which.  [default: normal]")
    return priority(deadline_option(hours_option(command)))


@click.command()
@job_argument
@click.option("--after-chunks", is_flag=True, help="Let what is running end first.")
def pause(job: str, after_chunks: bool) -> None:
    """Pause a job: at the next step, with --after-chunks when its running chunks have ended. Nothing is lost."""
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.write() as connection:
        row = jobs.get(connection, jobs.find(connection, job).id, lock=True)
        _need(row.is_open, row, "cannot be paused")
        jobs.wish(connection, row.id, Wish.PAUSE_AFTER_CHUNKS if after_chunks else Wish.PAUSE)
    how = "when its running chunks have ended" if after_chunks else "at the next step"
    click.echo(f"job {row.name} ({row.id}) pauses {how}; 'farm resume {row.id}' goes on")


@click.command()
@job_argument
@hours_option
@deadline_option
def resume(job: str, max_device_hours: float | None, deadline: str | None) -> None:
    """Go on with a job that was paused or that stopped itself, perhaps with a new budget or deadline."""
    from dispatcher.planning.stopping import why_stop
    from dispatcher.planning.terms import parse_terms
    from storage.sql import jobs

    farm = open_farm()
    terms = parse_terms(deadline=deadline, max_device_hours=max_device_hours, now=time.time())
    with farm.database.write() as connection:
        row = jobs.get(connection, jobs.find(connection, job).id, lock=True)
        waits = row.state in (JobState.PAUSED, JobState.STOPPED) or row.wish in (Wish.PAUSE, Wish.PAUSE_AFTER_CHUNKS)
        _need(row.is_open and (waits or bool(terms.said())), row, "needs no resuming")
        stays = why_stop(replace(row, **terms.said()), now=time.time(), limit=0, trend=None)
        _need(stays is None, row, f"would stop again at once: {stays}")
        jobs.change(connection, row.id, wish=Wish.RESUME, **terms.said())
    click.echo(f"job {row.name} ({row.id}) goes on; follow it: ./farm watch {row.id}")


@click.command()
@job_argument
@click.option("--drop", is_flag=True, help="Forget the images that were made, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cancel(job: str, drop: bool, yes: bool) -> None:
    """Cancel a job at the next step. Images that are made are kept, unless --drop."""
    import sys

    from storage.sql import jobs

    farm = open_farm()
    row = _find(farm, job)
    if drop and not yes and sys.stdin.isatty():
        click.confirm(f"forget the {counted(row.done, 'image')} of job {row.name} ({row.id})?", abort=True)
    with farm.database.write() as connection:
        row = jobs.get(connection, row.id, lock=True)
        acts = row.is_open or (drop and row.state == JobState.CANCELLED)
        if acts:
            jobs.wish(connection, row.id, Wish.DROP if drop or row.wish == Wish.DROP else Wish.CANCEL)
    if not acts:
        hint = f"; 'farm rm {row.id}' removes it" if drop else ""
        click.echo(f"job {row.name} ({row.id}) is {row.state} already{hint}")
    elif drop:
        how = "will be cancelled, and its images forgotten" if row.is_open else "is cancelled; its images are forgotten"
        click.echo(f"job {row.name} ({row.id}) {how}")
    else:
        click.echo(f"job {row.name} ({row.id}) will be cancelled; {counted(row.done, 'image')} kept")


def _read_numbers(context: click.Context, option: click.Parameter, said: tuple[str, ...]) -> tuple[int, ...]:  # noqa: ARG001
    from storage.spec.number import read_number

    try:
        return tuple(read_number(text) for text in said)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@job_argument
@click.option(
    "--image", "numbers", callback=_read_numbers, multiple=True, metavar="N",
    help="Only these images, such as 12 or 12.1.",
)  # fmt: skip
def retry(job: str, numbers: tuple[int, ...]) -> None:
    """Render the failed images of a job once more, or the whole job if it failed as one.

    What is made stays as it is. Images that did not fail are passed over.
    """
    from storage.sql import endings, jobs

    farm = open_farm()
    with farm.database.write() as connection:
        row = jobs.get(connection, jobs.find(connection, job).id, lock=True)
        _need(row.state != JobState.CANCELLED, row, "cannot be tried again; 'farm submit --new' starts another one")
        rejected = f"; those rejected, {row.rejected}, are made: see 'farm logs {row.id}'" if row.rejected else ""
        _need(bool(row.failed) or row.state == JobState.FAILED, row, f"has no failed images{rejected}")
        found = sorted({image.number for image in endings.failed(connection, row.id, numbers)})
        sound = _shown(sorted({*numbers} - {*found}))
        _need(bool(found) or not numbers, row, f"has no failed image {sound}; see 'farm logs {row.id}'")
        everything = not numbers or row.retry == []
        jobs.change(connection, row.id, retry=[] if everything else sorted({*found, *(row.retry or ())}))
    what = f"image {_shown(found)}" if numbers else "the failed images" if row.failed else "everything that is left"
    click.echo(f"job {row.name} ({row.id}) tries {what} once more; follow it: ./farm watch {row.id}")
    if sound:
        click.echo(f"passed over, as it did not fail: image {sound}", err=True)
    if row.state in (JobState.PAUSED, JobState.STOPPED):
        click.echo(f"it is {row.state}; 'farm resume {row.id}' goes on", err=True)


def _shown(numbers: Sequence[int]) -> str:
    from storage.spec.number import show_number

    said = [show_number(number) for number in numbers]
    return ", ".join(said[:_NAMED]) + (f" and {len(said) - _NAMED} more" if len(said) > _NAMED else "")


def _find(farm: Farm, name: str) -> Any:
    from storage.sql import jobs

    with farm.database.read() as connection:
        return jobs.find(connection, name)


def _need(holds: bool, row: Any, otherwise: str) -> None:
    if not holds:
        raise UserError(f"job {row.name} ({row.id}) is {row.state}: it {otherwise}")
