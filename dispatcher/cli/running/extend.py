"""The command that makes a job longer."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.common import echo_json, echo_notes, json_option, load_spec, open_farm, set_option
from dispatcher.farm import Farm
from dispatcher.wording import counted
from storage.errors import UserError
from storage.spec import Spec

if TYPE_CHECKING:
    from storage.sql.jobs import JobRow


@click.command(short_help="Add seeds, prompts or other values to a job.")
@click.argument("job")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@set_option
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="N more seeds, after those that the job has.")
@click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="One more prompt; may be given often.")
@click.option("--dry-run", is_flag=True, help="Say what would be added, and add nothing.")
@json_option
def extend(
    job: str, file: Path | None, changes: tuple[str, ...], seeds: int | None, prompts: tuple[str, ...], dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Add values to the axes of JOB. Only the new images are rendered, and no image changes its number.

    FILE is the job's file with more values in its axes, and nothing else changed. To add seeds or prompts alone,
    leave it out and give --seeds or --prompt. Safe to repeat with FILE: a second time there is nothing new.
    """
    from dispatcher.extension import check_extensible, store_extension
    from dispatcher.inputs import say_inputs
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    check_extensible(row)
    known = farm.specs.load(row.id, spec_hash=row.spec_hash).spec
    longer = _longer(farm, known, file=file, changes=changes, seeds=seeds, prompts=prompts)
    if longer is not known:
        echo_notes(longer)
    if not dry_run and longer is not known:
        row = store_extension(row, longer, known=known, database=farm.database, store=farm.store, say=say_inputs)
    _say(row, known, longer, dry_run=dry_run, as_json=as_json)


def _longer(
    farm: Farm, known: Spec, *, file: Path | None, changes: tuple[str, ...], seeds: int | None,
    prompts: tuple[str, ...],
) -> Spec:  # fmt: skip
    from storage.spec.growth import add_values, extend

    cap = farm.settings.max_images
    if file is None and not changes and (seeds or prompts):
        return add_values(known, seeds=seeds or 0, prompts=prompts, max_images=cap)
    if file is None:
        raise UserError("nothing to add; give the job's file with more values in its axes, --seeds N or --prompt TEXT")
    if seeds or prompts:
        raise UserError("--seeds and --prompt go without a file; write them into the file, or leave it out")
    return extend(known, load_spec(farm, file, changes=changes), max_images=cap)


def _say(row: "JobRow", known: Spec, longer: Spec, *, dry_run: bool, as_json: bool) -> None:
    from dispatcher.views.parts import describe_parts, print_new_parts
    from storage.spec import Job

    job, before = Job(longer), len(known.parts) + 1
    images = Job(known).images
    if as_json:
        new = describe_parts(job)[before:]
        echo_json({"id": row.id, "name": row.name, "images": job.images, "added": job.images - images, "parts": new})
        return
    name = f"job {row.name} ({row.id})"
    if longer is known:
        click.echo(f"{name} has all of this already: {counted(images, 'image')}")
        return
    click.echo(f"{name} {'would grow' if dry_run else 'grows'} from {images} to {counted(job.images, 'image')}")
    print_new_parts(job, before=before)
    if not dry_run:
        click.echo(_next_step(row))


def _next_step(row: "JobRow") -> str:
    from storage.states import JobState

    if row.state in (JobState.PAUSED, JobState.STOPPED):
        return f"it is {row.state}; go on: ./farm resume {row.id}"
    return f"follow it: ./farm watch {row.id}"
