"""`farm logs`: what happened to a job."""

import click

from dispatcher.cli.common import echo_json, job_argument, json_option, open_farm
from dispatcher.views.history import Entry


@click.command()
@job_argument
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, help="How many lines, the newest.")
@json_option
def logs(job: str, limit: int, as_json: bool) -> None:
    """Show what happened to a job: its states and wishes, attempts and losses, failed images, oldest first."""
    from dispatcher.views.history import read_history
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    entries = read_history(farm.database, row.id, limit=limit)
    if as_json:
        echo_json([entry.to_json() for entry in entries])
        return
    for entry in entries:
        click.echo(_line(entry))
    if not entries:
        click.echo(f"nothing happened to job {row.name} ({row.id}) yet")


def _line(entry: Entry) -> str:
    from datetime import datetime

    when = datetime.fromtimestamp(entry.at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    where = [] if entry.chunk is None else [f"chunk {entry.chunk}.{entry.attempt}"]
    where += [] if entry.image_id is None else [f"image {entry.image_id.rpartition('/')[2]}"]
    where += [] if entry.worker is None else [f"on {entry.worker}"]
    detail = " ".join(entry.detail.split())  # one line, whatever a worker said
    return f"{when}  {entry.what:<10} {' '.join(where)}{': ' if where and detail else ''}{detail}".rstrip()
