"""Commands that steer and explain: priority, drain, workers, why."""

import time
from typing import Any

import click

from dispatcher.cli.common import echo_json, job_argument, json_option, open_farm
from dispatcher.farm import Farm

WIDTH = 100


@click.command()
@click.argument("job")
@click.argument("priority", type=click.Choice(["interactive", "normal", "background"]))
def priority(job: str, priority: str) -> None:
    """Say how urgent a job is.

    An interactive job goes ahead of everything that waits and is waited for by one running chunk at most; a background
    job runs when nobody else wants the devices, and counts as a normal one after FARM_AGEING_S without any.
    """
    from storage.sql import jobs
    from storage.states import Priority

    farm = open_farm()
    with farm.database.write() as connection:
        row = jobs.find(connection, job)
        if row.is_open:
            jobs.change(connection, row.id, priority=Priority(priority))
    what = f"is {priority} now" if row.is_open else f"is {row.state} already; nothing was changed"
    click.echo(f"job {row.name} ({row.id}) {what}")


@click.command(short_help="Give a worker nothing new; --now stops what it runs.")
@click.argument("node")
@click.option("--now", "at_once", is_flag=True, help="What it runs ends at the next step, too.")
@click.option("--undo", is_flag=True, help="Let it work again.")
def drain(node: str, at_once: bool, undo: bool) -> None:
    """Give a worker nothing new, so that its host can be used or switched off.

    NODE is a worker as 'farm workers' shows it. What it runs is finished, or with --now ends at the next step; images
    that are made are kept and the rest goes elsewhere. It stays drained, across restarts too, until --undo.
    """
    from storage.errors import InvalidSpec, UnknownName, nearest
    from storage.sql import workers

    if at_once and undo:
        raise InvalidSpec("--undo", None, "gives work again and --now takes it away; use one of them")
    farm = open_farm()
    with farm.database.read() as connection:
        known = workers.known_nodes(connection)
    hall = _look(farm)
    known |= {beat.node for beat in hall.live} | hall.silent.keys() | hall.quarantined.keys()
    if node not in known:
        hint = nearest(node, known) if known else hall.away or "no worker was ever here"
        raise UnknownName("worker", node, hint)
    wish: workers.WorkerWish | None = None if undo else "stop" if at_once else "drain"
    with farm.database.write() as connection:
        workers.wish_worker(connection, node, wish, time.time())
    if undo:
        click.echo(f"worker {node} gets work again")
    else:
        ends = "what it runs ends at the next step" if at_once else "it ends what it runs"
        click.echo(f"worker {node} gets nothing new and {ends}; undo: ./farm drain {node} --undo")


@click.command(short_help="List workers: what they do, and what keeps them from it.")
@json_option
def workers(as_json: bool) -> int:
    """List workers: devices, what each does, and who is drained, silent, resting or quarantined."""
    from dispatcher.views.roster import roster
    from storage.sql import jobs
    from storage.sql import workers as queries

    farm = open_farm()
    hall = _look(farm)
    with farm.database.read() as connection:
        names = {row.id: row.name for row in jobs.still_open(connection)}
        wishes, rests = queries.wishes(connection), queries.rests(connection, time.time())
    if hall.away:
        click.echo(f"farm: {hall.away}", err=True)
    entries = roster(hall, wishes=wishes, rests=rests, names=names, now=time.time())
    if as_json:
        echo_json([entry.to_json() for entry in entries])
    elif entries:
        _print_roster(entries)
    elif not hall.away:
        click.echo("no worker is there; './farm up' starts one a device here, 'farm-worker start' on other hosts")
    return 1 if hall.away else 0


@click.command(short_help="Say why a job is not running, or not faster.")
@job_argument
@json_option
def why(job: str, as_json: bool) -> None:
    """Say why a job is not running, or not faster: what it waits for, what each worker says to it, what would help.

    The answer comes from the predicate that decides, read anew; it needs neither a dispatcher nor a broker.
    """
    from dispatcher.service.feeding.board import read_board
    from dispatcher.views.hall import leader_problem
    from dispatcher.views.why import answer
    from storage.sql import chunks, jobs
    from storage.states import ChunkState

    farm = open_farm()
    settings = farm.settings
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    leaderless = leader_problem(farm.database, patience_s=2 * settings.tick_s + 2) if row.is_open else ""
    hall, now = _look(farm), time.time()
    with farm.database.read() as connection:
        row = jobs.get(connection, row.id)
        ageing_s = settings.ageing_s * settings.time_scale
        board = read_board(connection, hall.live, load=_loader(farm), ageing_s=ageing_s, now=now)
        issued = chunks.in_state(connection, ChunkState.ISSUED, job_id=row.id)
    said = answer(row, board, hall, issued=issued, leaderless=leaderless, now=now)
    if as_json:
        echo_json(said.to_json())
    else:
        _print_answer(said)


def _look(farm: Farm) -> Any:
    """What the broker shows of the workers."""
    from dispatcher.cli.parts.services import _broker_url
    from dispatcher.service.broker import Broker
    from dispatcher.views.hall import look
    from storage.errors import InvalidSetting

    settings = farm.settings
    try:
        broker = Broker(_broker_url(settings))
    except InvalidSetting:
        if settings.broker_url is not None:
            raise
        broker = None
    return look(broker, silence_s=settings.silence_s * settings.time_scale)


def _loader(farm: Farm) -> Any:
    """Reads specs; where the store is away, what they would add to the answer is left out."""
    from storage.errors import FarmError, PermanentError

    def load(row: Any) -> Any:
        try:
            return farm.specs.load(row.id, spec_hash=row.spec_hash)
        except FarmError as error:
            raise PermanentError(str(error)) from None

    return load


def _print_roster(entries: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("worker", "device", "GiB", "models", "does"):
        table.add_column(title, justify="right" if title in ("GiB", "models") else "left", overflow="fold")
    for entry in entries:
        memory = "" if entry.memory_gib is None else str(entry.memory_gib)
        does = Text(entry.does)
        for note in entry.notes:
            does.append(f"\n{note}", style="yellow")
        table.add_row(Text(entry.node, style="cyan"), entry.device, memory, str(entry.resident or ""), does)
    _print(table)


def _print_answer(said: Any) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    row = said.job
    aged = f" (waited long: counts as {said.counts_as})" if said.counts_as != row.priority else ""
    failed = f", {row.failed} failed" if row.failed else ""
    title = Text.assemble("job ", (row.name, "bold"), f" ({row.id}) of {row.user}: ", (str(row.state), "bold"))
    _print(title + Text(f", {row.priority}{aged}, {row.done}/{row.images} images{failed}"))
    _print(Text(said.says, style="yellow" if row.is_open else ""))
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for line in said.under_way:
        table.add_row(Text(line.node, style="cyan"), Text(line.device, style="dim"), Text(line.says, style="green"))
    for one in said.rows:
        table.add_row(Text(one.node, style="cyan"), Text(one.device, style="dim"), one.says)
    if table.row_count:
        _print(Padding(table, (0, 0, 0, 2)))
    if said.helps:
        _print(Text("what helps", style="bold"))
    for line in said.helps:
        _print(Text(f"  {line}"))


def _print(what: Any) -> None:
    """Print for people: at most 100 columns wide, no blanks at the ends of lines."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(WIDTH, console.width)
    with console.capture() as capture:
        console.print(what)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())
