"""Commands about jobs: submit, look, follow."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dispatcher.cli.common import (
    again,
    echo_json,
    echo_notes,
    file_argument,
    job_argument,
    json_option,
    load_spec,
    open_farm,
    plain_option,
    set_option,
)
from dispatcher.cli.running.wishes import terms_options
from dispatcher.farm import Farm
from dispatcher.wording import counted
from storage.states import JobState

_MOMENTS = ("deadline", "created_at", "started_at", "finished_at")  # Unix seconds


@click.command()
@file_argument
@set_option
@click.option("--new", is_flag=True, help="Start another job even if this file has one already.")
@terms_options
@json_option
def submit(file: Path, changes: tuple[str, ...], new: bool, as_json: bool, **terms: Any) -> None:
    """Queue the job that FILE describes.

    Works while the broker is away. Safe to repeat: the same file again goes on with its unfinished job.
    """
    from dispatcher.inputs import say_inputs
    from dispatcher.planning.terms import parse_terms
    from dispatcher.submission import submit as submit_spec

    parsed = parse_terms(**terms, now=time.time())

    farm = open_farm()
    spec = load_spec(farm, file, changes=changes)
    echo_notes(spec)
    done = submit_spec(
        spec,
        settings=farm.settings,
        database=farm.database,
        store=farm.store,
        source=again("run", file, changes),
        new=new,
        say=say_inputs,
        terms=parsed,
    )
    if as_json:
        echo_json({**_summary(done.row), "new": done.is_new})
        return
    verb = "queued" if done.is_new else f"is {done.row.state} already"
    longer = ", extended since" if done.is_longer else ""
    click.echo(f"job {done.row.name} ({done.row.id}) {verb}: {counted(done.row.images, 'image')}{longer}")
    waits = done.row.state in (JobState.PAUSED, JobState.STOPPED)
    click.echo(f"go on: ./farm resume {done.row.id}" if waits else f"follow it: ./farm watch {done.row.id}")


@click.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many jobs.")
@json_option
def ls(limit: int, as_json: bool) -> None:
    """List jobs, the newest first."""
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.read() as connection:
        rows = jobs.listing(connection, limit=limit)
    if as_json:
        echo_json([_summary(row) for row in rows])
        return
    if not rows:
        click.echo("no jobs yet; ./farm init prints a job file to start from")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, side in (
        ("job", "left"),
        ("id", "left"),
        ("state", "left"),
        ("images", "right"),
        ("failed", "right"),
        ("rejected", "right"),
        ("submitted", "left"),
    ):
        table.add_column(title, justify="right" if side == "right" else "left")
    for row in rows:
        counts = (f"{row.done}/{row.images}", str(row.failed or ""), str(row.rejected or ""))
        table.add_row(row.name, row.id, str(row.state), *counts, _when(row.created_at))
    Console().print(table)


@click.command()
@job_argument
@json_option
def show(job: str, as_json: bool) -> None:
    """Show one job: its state, models, plan, chunks, parts, failures, and how many images carry a flag."""
    from dispatcher.views.estimate import source_lines
    from dispatcher.views.parts import describe_parts, part_lines
    from storage.sql import chunks, images, jobs, quality

    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
        plans = jobs.plans(connection, [row.id]).get(row.id, {})
        counts = chunks.open_counts(connection, row.id)
        failures = images.failures(connection, row.id, limit=5)
        size = images.total_bytes(connection, row.id)
        flags = images.flag_counts(connection, row.id)
        rules = quality.reasons(connection, row.id)
    said = {
        **_summary(row), "flags": flags, "rejections": rules, "bytes": size,
        "store": farm.store.locate(f"jobs/{row.id}"),
        "models": {name: asdict(facts) for name, facts in (row.models or {}).items()},
        "plans": [{"width": w, "height": h, **plan.model_dump()} for (w, h), plan in plans.items()],
        "chunks": {str(state): count for state, count in counts.items()},
        "failures": [{"reason": reason, "detail": detail, "images": times} for reason, detail, times in failures],
    }  # fmt: skip
    if sources := _sources(farm, row):
        said["sources"] = sources if as_json else source_lines(sources)
    if row.specs:  # it was extended
        longer = farm.specs.load(row.id, spec_hash=row.spec_hash)
        said["parts"] = describe_parts(longer) if as_json else part_lines(longer)
    if as_json:
        echo_json(said)
        return
    moments = {name: _when(said[name]) for name in _MOMENTS if said[name] is not None}
    for key, value in {**said, **moments}.items():
        for place, line in enumerate(_lines(value)):
            click.echo(f"{key if not place else '':<18} {line}")


@click.command()
@job_argument
@plain_option
def watch(job: str, plain: bool) -> int:
    """Follow a job until it ends or stops itself. Ctrl-C ends the watching, not the job."""
    from dispatcher.cli.parts.services import _broker_url
    from dispatcher.service.broker import Broker
    from dispatcher.views.screen import make_screen
    from dispatcher.views.watching import follow
    from storage.errors import InvalidSetting
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    try:
        broker = Broker(_broker_url(farm.settings))
    except InvalidSetting:
        broker = None
    last = follow(farm, row.id, broker=broker, screen=make_screen(plain=plain), gallery=None, tend=lambda: None)
    if last.row.state != JobState.DONE:
        click.echo(
            f"farm: job {row.name} {last.row.state}{f': {last.row.reason}' if last.row.reason else ''}", err=True
        )
    return 0 if last.row.state == JobState.DONE and not last.row.failed else 1


def _sources(farm: Farm, row: Any) -> list[dict[str, Any]]:
    """The files that the job's values were read from; nothing while the store is away."""
    from storage.errors import PermanentError, TransientError

    try:
        return [dict(source) for source in farm.specs.load(row.id, spec_hash=row.spec_hash).spec.sources]
    except (TransientError, PermanentError):
        return []


def _summary(row: Any) -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "user": row.user, "state": str(row.state), "wish": str(row.wish),
        "reason": row.reason, "images": row.images, "done": row.done, "failed": row.failed, "linked": row.linked,
        "rejected": row.rejected, "judged": row.judged if row.has_rules else None, "short": row.short,
        "priority": str(row.priority), "reuse": str(row.reuse), "deadline": row.deadline,
        "device_seconds": round(row.device_seconds, 3), "max_device_seconds": row.max_device_seconds,
        "seconds_per_image": row.seconds_per_image, "spec_hash": row.spec_hash, "source": row.source,
        "created_at": row.created_at, "started_at": row.started_at, "finished_at": row.finished_at,
    }  # fmt: skip


def _when(moment: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def _lines(value: object) -> list[str]:
    import json

    if isinstance(value, list):
        return [line for entry in value for line in _lines(entry)] or ["-"]
    if isinstance(value, dict):
        return [f"{key}: {json.dumps(entry, ensure_ascii=False)}" for key, entry in value.items()] or ["-"]
    return ["-" if value is None else str(value)]
