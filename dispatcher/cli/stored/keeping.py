"""Commands about what the farm keeps: how much it is, whether it is whole, what may go, and rows made anew."""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import click

from dispatcher.cli.common import echo_json, json_option, open_farm
from dispatcher.wording import counted

_TOLD_EVERY = 10_000  # objects between two lines of progress
_DAY_S, _HOUR_S = 86_400.0, 3_600.0


class Span(click.ParamType[float]):
    """A span of time such as 30d or 12h, in seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a span."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([dh])", str(value).strip())
        if found is None:
            self.fail(f"{value!r}: must be days or hours, such as 30d or 12h", param, ctx)
        return float(found[1]) * (_DAY_S if found[2] == "d" else _HOUR_S)


@click.command()
@click.option("--dry-run", is_flag=True, help="Count what would go and delete nothing.")
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="Spare what is younger, and what became garbage since.",
)
@click.option(
    "--retention",
    type=Span(),
    metavar="SPAN",
    help="First remove jobs that ended longer ago, such as 30d; as farm rm does.",
)
@click.option("--unknown", is_flag=True, help="Also whole folders of jobs that the database does not know.")
@json_option  # fmt: skip
def gc(dry_run: bool, grace: float, retention: float | None, unknown: bool, as_json: bool) -> None:
    """Delete from the object store what nobody will ask for.

    That is: what runs left that did not count, images that were dropped, jobs that were removed, inputs and models
    that no job names. Never a file that an image or a link names. Safe beside a running farm, and safe to repeat.
    """
    from dispatcher.keeping.collecting.garbage import Wanted, collect
    from dispatcher.keeping.collecting.removal import remove_older

    farm = open_farm()
    store = farm.store
    removed = [] if retention is None else remove_older(farm.database, store, retention, dry_run=dry_run)
    wanted = Wanted(grace_s=grace * _HOUR_S, unknown=unknown, dry_run=dry_run)
    found = collect(farm.database, store, wanted=wanted, say=None if as_json else _say)
    if as_json:
        echo_json({**asdict(found), "total": asdict(found.total), "removed_jobs": removed, "dry_run": dry_run})
        return
    if retention is not None:
        click.echo(
            f"{counted(len(removed), 'job')} {'would be ' if dry_run else ''}removed; the objects follow after a grace"
        )
    click.echo(f"{'would delete' if dry_run else 'deleted'} {found.total}; looked at {found.looked_at} of jobs")
    for what, tally in (
        ("left by runs and dropped images", found.runs), ("of removed jobs", found.jobs),
        ("input images", found.inputs), ("models", found.models), ("in grace, goes later", found.in_grace),
    ):  # fmt: skip
        if tally.objects:
            click.echo(f"  {what}: {tally}")
    if found.unknown.objects:
        names = ", ".join(found.unknown_jobs)
        click.echo(
            f"note: {found.unknown} of jobs that the database does not know ({names}): kept; 'farm rebuild' makes the "
            "rows of a lost database anew, '--unknown' deletes them",
            err=True,
        )


@click.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--now", is_flag=True, help="Delete its objects too, without waiting for farm gc and its grace.")
@click.option("--keep-objects", is_flag=True, help="Leave its objects for good; farm rebuild can bring it back.")
@json_option
def rm(jobs: tuple[str, ...], yes: bool, now: bool, keep_objects: bool, as_json: bool) -> None:
    """Forget jobs that have ended.

    Their rows go at once, their objects with farm gc after its grace. What other jobs link to stays as long as they do.
    """
    from dispatcher.keeping.collecting.garbage import collect_removed
    from dispatcher.keeping.collecting.removal import check_ended, remove
    from storage.sql import jobs as queries

    if now and keep_objects:
        raise click.UsageError("--now and --keep-objects exclude each other")
    farm = open_farm()
    with farm.database.read() as connection:
        rows = list({row.id: row for row in (queries.find(connection, name) for name in jobs)}.values())
    for row in rows:
        check_ended(row)
    if not yes:
        _confirm(", ".join(f"{row.name} ({row.id}, {counted(row.done, 'image')})" for row in rows))
    said = []
    for row in rows:
        remove(farm.database, farm.store, row, keep_objects=keep_objects)
        freed = collect_removed(farm.database, farm.store, row.id).total if now else None
        said.append({"id": row.id, "name": row.name, "deleted": None if freed is None else asdict(freed)})
        if not as_json:
            when = "its objects stay" if keep_objects else "its objects go with 'farm gc'"
            click.echo(f"job {row.name} ({row.id}) removed; {when if freed is None else f'deleted {freed}'}")
    if as_json:
        echo_json(said)


@click.command()
@click.argument("job", required=False)
@json_option
def du(job: str | None, as_json: bool) -> None:
    """Say what the object store holds, by job: images, previews, manifests, and garbage that farm gc will take."""
    from dispatcher.keeping.collecting.usage import measure
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.read() as connection:
        job_id = None if job is None else jobs.find(connection, job).id
        names = {row.id: row.name for row in jobs.listing(connection, limit=10_000)}
    usage = measure(farm.database, farm.store, job_id=job_id)
    if as_json:
        rows = [{**asdict(one), "name": names.get(one.job), "total": asdict(one.total)} for one in usage.jobs.values()]
        shared = {} if job_id is not None else {"inputs": asdict(usage.inputs), "models": asdict(usage.models)}
        echo_json({"jobs": rows, **shared, "total": asdict(usage.total)})
        return
    _print_usage(usage.jobs.values(), names)
    if job_id is None:
        click.echo(f"input images: {usage.inputs}\nmodels: {usage.models}")
    click.echo(f"in all: {usage.total}")


@click.command()
@click.argument("job", required=False)
@click.option("--repair", is_flag=True, help="Put right what can be.")
@click.option(
    "--sample",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="Read and hash only that share of the images again; 0 looks at names and sizes only.",
)
@json_option  # fmt: skip
def fsck(job: str | None, repair: bool, sample: float, as_json: bool) -> int:
    """Compare SQL with the object store, of one job or of all, and read the images again.

    Every image and link must have its file, of the recorded size and SHA-256; counters must agree with rows; manifests
    and notes must be there. Ends with 1 if something is wrong and was not repaired. The farm may run meanwhile.

    --repair never guesses: an image whose file is lost is looked for among what other runs of it left, and otherwise
    fails with the reason lost_object, so that farm retry renders it again.
    """
    from dispatcher.keeping.checking.check import Checker
    from dispatcher.keeping.checking.repair import Repairer
    from dispatcher.keeping.checking.whole import check_all

    farm = open_farm()
    repairer = Repairer(farm.database, farm.store) if repair else None
    checker = Checker(farm.database, farm.store, share=sample, repairer=repairer)
    problems = []
    for problem in check_all(farm.database, farm.store, checker, name=job):
        problems.append(problem)
        if not as_json:
            click.echo(str(problem))
    left = sum(problem.repaired is None for problem in problems)
    if as_json:
        echo_json({
            "problems": [problem.to_json() for problem in problems], "unrepaired": left, "images": checker.images,
            "hashed": checker.hashed,
        })  # fmt: skip
    else:
        found = f"{counted(len(problems), 'problem')}, {left} not repaired" if problems else "nothing is wrong"
        click.echo(f"{found}; {counted(checker.images, 'image')} looked at, {checker.hashed} read again")
    return 1 if left else 0


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would come of it and write nothing.")
@json_option
def rebuild(dry_run: bool, as_json: bool) -> int:
    """Make the rows of a lost database anew from the object store alone, into an empty one.

    Jobs, chunks, images and links come back; users, budgets, history and names of registered models do not. Jobs that
    were not finished come back paused: farm resume goes on with exactly what is missing. Safe to repeat.

    No dispatcher of this farm should run meanwhile. Ends with 1 if something could not be read.
    """
    from dispatcher.keeping.rebuilding.rebuild import rebuild as make_anew

    farm = open_farm()

    def say(name: str, images: int, total: int) -> None:
        if not as_json:
            click.echo(f"  {name}: {images} of {total} images", err=True)

    done = make_anew(farm.database, farm.store, user=farm.settings.user, dry_run=dry_run, say=say)
    if as_json:
        echo_json({**asdict(done), "dry_run": dry_run})
        return 1 if done.troubles else 0
    for trouble in done.troubles:
        click.echo(f"farm: {trouble}", err=True)
    verb = "would come back" if dry_run else "back"
    click.echo(f"{verb}: {counted(done.jobs, 'job')} with {counted(done.images, 'image')}; there already: {done.known}")
    if done.paused:
        click.echo(f"{counted(len(done.paused), 'job')} paused: ./farm resume {done.paused[0]} goes on")
    return 1 if done.troubles else 0


def _print_usage(jobs: Iterable[Any], names: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from dispatcher.keeping.collecting.usage import total_of
    from dispatcher.wording import human

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("id", "job", "images", "previews", "records", "garbage", "in grace", "total"):
        left = title in ("id", "job")
        table.add_column(title, justify="left" if left else "right", no_wrap=title != "job", overflow="fold")
    for one in sorted(jobs, key=lambda one: one.total.bytes, reverse=True):
        parts = (one.images, one.previews, total_of([one.manifests, one.notes]), one.garbage, one.in_grace)
        sizes = [human(part.bytes) if part.objects else "" for part in parts]
        table.add_row(one.job, names.get(one.job, "(not in SQL)"), *sizes, human(one.total.bytes))
    Console().print(table)


def _confirm(what: str) -> None:
    from storage.errors import UserError

    if not sys.stdin.isatty():
        raise UserError(f"removing {what}: nobody is there to ask; say --yes")
    click.confirm(f"remove {what}?", abort=True)


def _say(looked_at: int) -> None:
    if looked_at % _TOLD_EVERY < 500 and looked_at >= _TOLD_EVERY:
        click.echo(f"  {looked_at} objects looked at", err=True)
