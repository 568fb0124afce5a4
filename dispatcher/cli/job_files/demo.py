"""`farm demo`: the whole farm in one command, on the model that comes with it."""

from pathlib import Path

import click

import dispatcher
from dispatcher.cli.common import load_spec, open_farm, plain_option
from storage.errors import UnreadableFile

JOB_FILE = Path("examples/digits.yaml")
CHECKOUT = Path(dispatcher.__file__).resolve().parents[1]


@click.command(short_help="Render digits from nothing to a contact sheet.")
@click.option("--devices", default="all", show_default=True, help="all (every GPU, else the CPU), cpu, or 0,1.")
@plain_option
def demo(devices: str, plain: bool) -> int:
    """Render a few hundred digits by four schedulers, from nothing to a contact sheet. Fresh each time."""
    from dispatcher.cli.job_files.run import LAPTOP_CHUNK_S
    from dispatcher.rendering import Options, render
    from dispatcher.views.contact import Arrangement
    from dispatcher.views.naming import DEFAULT_PATTERN

    file = CHECKOUT / JOB_FILE
    if not file.exists():
        raise UnreadableFile(file, "the demo needs a checkout with examples/; clone the repository")
    farm = open_farm()
    spec = load_spec(farm, file)
    options = Options(
        out=None,
        pattern=DEFAULT_PATTERN,
        devices=devices,
        plain=plain,
        new=True,
        chunk_s=LAPTOP_CHUNK_S,
        arrangement=Arrangement(rows="look", cols="digit", pages="scheduler"),
    )
    code = render(farm, spec, source=f"run {JOB_FILE}", options=options)
    if code == 0:
        _print_next()
    return code


def _print_next() -> None:
    click.echo("\nNext, to paste:\n")
    for why, command in (
        (
            "change one word",
            './farm run -m examples/digits/model -p "a thick green four on black" --seeds 8 --steps 20 --guidance 5',
        ),
        ("schedulers x steps", "./farm run examples/scheduler-steps.yaml"),
        ("SDXL on a real GPU", "./farm run examples/sdxl.yaml"),
    ):
        click.echo(f"  # {why}\n  {command}\n")
