"""Commands about job files: nothing here needs a farm."""

from pathlib import Path
from typing import Any

import click

from dispatcher.cli.common import (
    again,
    echo_json,
    echo_notes,
    file_argument,
    json_option,
    load_spec,
    open_farm,
    set_option,
)

TEMPLATE = """\
# A Seedfarm job. Check it: farm check FILE. Render it: farm run FILE.
name: my-job

# A folder in diffusers layout (relative to this file), or a hub id: owner/name or owner/name@revision
model: stable-diffusion-v1-5/stable-diffusion-v1-5

# The job is the product of its axes. Whatever stands under "same for every image" below can be an axis instead.
axes:
  prompt:
    - a lighthouse at dawn, oil on canvas
    - a lighthouse at night, woodcut
  # prompt: {file: prompts.txt}                  one prompt a line
  # prompt: {template: "a {mood} fox", values: {mood: [happy, sleepy]}}
  seed: {start: 0, count: 4}
  # seed: {derive: 4, over: [prompt]}            the same four seeds for a prompt, whatever else is added
  scheduler: [ddim, {name: dpmpp_2m, use_karras_sigmas: true}]   # 'farm schedulers' lists them
  # guidance_scale: [3, 5, 7.5]

# zip: [{width: [512, 768], height: [768, 512]}]          axes that go together
# exclude: [{scheduler: ddim, seed: 0}]                   places left empty
# rows: {file: captions.csv, bind: {prompt: caption}, labels: [source]}

# Same for every image
negative_prompt: blurry
steps: 25
guidance_scale: 7.5
width: 512
height: 512

# previews: {every: 5}                  a strip of the steps, dropped when the image is stored unless keep: true
# plan: {dtype: float16, batch: 4}      the farm chooses what is not pinned
output: {format: png}
"""


@click.command(short_help="Print a commented job file.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def init(file: Path | None) -> None:
    """Print a commented job file, or write it to FILE."""
    if file is None:
        click.echo(TEMPLATE, nl=False)
        return
    from storage.errors import UnreadableFile

    try:
        with file.open("x") as handle:
            handle.write(TEMPLATE)
    except FileExistsError:
        raise UnreadableFile(file, "exists already; choose another name") from None
    except OSError as error:
        raise UnreadableFile(file, f"cannot be written: {(error.strerror or str(error)).lower()}") from None
    click.echo(f"{file}: edit it, then: farm check {file}")


@click.command()
@file_argument
@set_option
@click.option("--sample", type=click.IntRange(1), help="Render that many images, spread over the whole job.")
@click.option("--devices", default="all", show_default=True, help="For --sample: all, cpu, or 0,1.")
@json_option
def check(file: Path, changes: tuple[str, ...], sample: int | None, devices: str, as_json: bool) -> int:
    """Say what a job file would render. Nothing is queued.

    Prints the number of images, the size of each axis, the first and the last recipe, and the bytes to expect.
    """
    from dispatcher.views.estimate import estimate, print_estimate

    farm = open_farm()
    spec = load_spec(farm, file, changes=changes)
    echo_notes(spec)
    said = estimate(spec)
    if as_json:
        echo_json(said)
    else:
        print_estimate(said)
    if sample is None:
        return 0
    from dataclasses import replace

    from dispatcher.cli.run import LAPTOP_CHUNK_S
    from dispatcher.rendering import Options, render
    from dispatcher.views.naming import DEFAULT_PATTERN

    part = replace(spec, name=f"{spec.name[:56]}-sample", sample=sample)
    options = Options(
        out=None, pattern=DEFAULT_PATTERN, devices=devices, plain=as_json, new=False, chunk_s=LAPTOP_CHUNK_S
    )
    return render(farm, part, source=again("check", file, changes, "--sample", str(sample)), options=options)


@click.command(short_help="Print the JSON Schema of a job file.")
def schema() -> None:
    """Print the JSON Schema of a job file, for editors and scripts."""
    from storage.spec import JobFile

    echo_json(JobFile.model_json_schema())


@click.command()
@json_option
def schedulers(as_json: bool) -> None:
    """List the schedulers that a job may name."""
    from storage.spec.schedulers import SCHEDULERS

    if as_json:
        echo_json([_scheduler(kind) for kind in SCHEDULERS.values()])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "also known as", "class", "calls for 20 steps", "notes"):
        table.add_column(title, justify="right" if title.startswith("calls") else "left", overflow="fold")
    for kind in SCHEDULERS.values():
        notes = "; ".join(filter(None, ["draws noise in every step" if kind.stochastic else "", kind.note]))
        names = (kind.name, ", ".join(kind.aliases), kind.diffusers_class.removesuffix("Scheduler"))
        table.add_row(*names, str(kind.model_calls(20)), notes)
    Console().print(table)
    click.echo(
        "\nOptions: scheduler: {name: dpmpp_2m, use_karras_sigmas: true}; an unknown one is refused with the nearest."
    )


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes farm commands in your shell.

    bash: put eval "$(farm completion bash)" into ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    from dispatcher.cli.root import main

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "farm", "_FARM_COMPLETE").source())


def _scheduler(kind: Any) -> dict[str, Any]:
    return {
        "name": kind.name, "aliases": list(kind.aliases), "class": kind.diffusers_class,
        "options": sorted(kind.options), "preset": dict(kind.preset), "stochastic": kind.stochastic,
        "calls_for_20_steps": kind.model_calls(20), "note": kind.note,
    }  # fmt: skip
