"""`farm run`: an embedded farm for one job."""

import shlex
import time
from pathlib import Path
from typing import Any

import click

from dispatcher.cli.common import (
    again,
    echo_notes,
    load_spec,
    name_option,
    open_farm,
    plain_option,
    quick_spec,
    set_option,
)
from dispatcher.cli.running.wishes import terms_options
from storage.errors import InvalidSpec

LAPTOP_CHUNK_S = 5.0  # one host has no queue to hide: pictures should appear soon


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the images. [default: outputs/NAME-ID]"
)
@click.option("-m", "--model", help="Without a file: a model folder or hub id.")
@click.option("-p", "--prompt", "prompts", multiple=True, help="Without a file: a prompt; may be given several times.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Without a file: seeds a prompt, from 0 on."
)
@click.option("--steps", type=int, help="Without a file: denoising steps.")
@click.option("--scheduler", help="Without a file: see 'farm schedulers'.")
@click.option("--guidance", type=float, help="Without a file: guidance scale.")
@click.option("--size", help="Without a file: WIDTHxHEIGHT in pixels. [default: the model's own]")
@set_option
@click.option("--new", is_flag=True, help="Start another job even if this file has one already.")
@click.option("--devices", default="all", show_default=True, help="all (every GPU, else the CPU), cpu, or 0,1.")
@name_option
@terms_options
@plain_option
def run(
    file: Path | None,
    out: Path | None,
    new: bool,
    devices: str,
    pattern: str,
    plain: bool,
    changes: tuple[str, ...],
    priority: str | None,
    deadline: str | None,
    max_device_hours: float | None,
    **quick: Any,
) -> int:
    """Render one job on this machine.

    FILE is a job file; or say it here: farm run -m MODEL -p "a prompt" --seeds 4. Starts a broker, a dispatcher and
    workers, shows progress, fills a folder with the images and draws a contact sheet. The same file again goes on with
    its unfinished job; --new starts another one.

    The first Ctrl-C stops cleanly and says how to go on, a second one stops at once.
    """
    from dispatcher.planning.terms import parse_terms
    from dispatcher.rendering import Options, render

    terms = parse_terms(priority=priority, deadline=deadline, max_device_hours=max_device_hours, now=time.time())
    farm = open_farm()
    if file is not None:
        if quick["model"] or quick["prompts"]:
            raise InvalidSpec("-m", quick["model"] or quick["prompts"], "needs no FILE; use --set to change one")
        spec, source = load_spec(farm, file, changes=changes), again("run", file, changes)
    else:
        spec, source = _quick(farm, quick)
    echo_notes(spec)
    options = Options(
        out=out, pattern=pattern, devices=devices, plain=plain, new=new, chunk_s=LAPTOP_CHUNK_S, terms=terms
    )
    return render(farm, spec, source=source, options=options)


def _quick(farm: Any, quick: dict[str, Any]) -> tuple[Any, str]:
    if not quick["model"] or not quick["prompts"]:
        raise InvalidSpec("FILE", None, "missing; give a job file, or -m MODEL -p PROMPT ('farm init' prints a file)")
    width, height = _size(quick["size"])
    options = {
        "steps": quick["steps"], "scheduler": quick["scheduler"], "width": width, "height": height,
        "guidance_scale": quick["guidance"],
    }  # fmt: skip
    spec = quick_spec(farm, model=quick["model"], prompts=quick["prompts"], seeds=quick["seeds"], options=options)
    words = ["run", "-m", quick["model"], *(word for prompt in quick["prompts"] for word in ("-p", prompt))]
    words += ["--seeds", str(quick["seeds"])]
    for name in ("steps", "scheduler", "guidance", "size"):
        if quick[name] is not None:
            words += [f"--{name}", str(quick[name])]
    return spec, shlex.join(words)


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit()):
        raise InvalidSpec("--size", text, "must be WIDTHxHEIGHT, such as 1024x1024")
    return int(width), int(height)
