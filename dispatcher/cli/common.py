"""What several commands share: options, opening the farm, JSON output."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from dispatcher.farm import Farm
from storage.errors import InvalidSpec
from storage.settings import load_settings
from storage.spec import Spec, check_job_file, freeze, read_job_file
from storage.spec.file.allowed import Allowed
from storage.spec.notes import notes

set_option = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key of the file, such as steps=30."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
plain_option = click.option("--plain", is_flag=True, help="Print lines for a log instead of drawing.")
name_option = click.option(
    "--name", "pattern", default="{number:06}_{scheduler}_{seed}", show_default=True, metavar="PATTERN",
    help="File names; fields are recipe keys, labels and number.",
)  # fmt: skip
file_argument = click.argument("file", type=click.Path(path_type=Path))
job_argument = click.argument("job", default="@last")


def open_farm() -> Farm:
    """The farm that the environment names. Raises InvalidSetting."""
    return Farm(load_settings())


def load_spec(farm: Farm, file: Path, *, changes: tuple[str, ...] = ()) -> Spec:
    """Read and freeze a job file. Raises UserError."""
    parsed = read_job_file(file, changes=changes)
    cap = farm.settings.max_images
    return freeze(parsed, base=file.absolute().parent, name=file.stem, max_images=cap, allowed=allowed_of(farm))


def quick_spec(farm: Farm, *, model: str, prompts: tuple[str, ...], seeds: int, options: dict[str, Any]) -> Spec:
    """Freeze a job given on the command line. Raises UserError."""
    raw = {
        "model": model,
        "axes": {"prompt": list(prompts), "seed": {"start": 0, "count": seeds}},
        **{key: value for key, value in options.items() if value is not None},
    }
    parsed = check_job_file(raw)
    cap = farm.settings.max_images
    return freeze(parsed, base=Path.cwd(), name=prompts[0][:40], max_images=cap, allowed=allowed_of(farm))


def allowed_of(farm: Farm) -> Allowed:
    """What this farm lets a job use."""
    settings = farm.settings
    return Allowed(
        find_model=farm.find_model, unregistered_models=settings.takes_unregistered,
        input_hosts=settings.allowed_hosts, input_bytes=settings.input_bytes, input_pixels=settings.input_pixels,
    )  # fmt: skip


def again(command: str, file: Path, changes: tuple[str, ...], *more: str) -> str:
    """The words after ./farm that give the same command again, ready to paste."""
    return shlex.join([command, str(file), *(word for change in changes for word in ("--set", change)), *more])


def echo_json(value: object) -> None:
    """Print a value as JSON, one document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def echo_notes(spec: Spec) -> None:
    """Say on stderr what may be a mistake in a job."""
    for note in notes(spec):
        click.echo(f"note: {note}", err=True)


def parse_picks(picks: tuple[str, ...]) -> dict[str, str]:
    """Turn --pick field=value options into a mapping. Raises InvalidSpec."""
    parsed = {}
    for pick in picks:
        field, equals, value = pick.partition("=")
        if not equals:
            raise InvalidSpec("--pick", pick, "must be FIELD=VALUE, such as seed=0")
        parsed[field.strip()] = value.strip()
    return parsed
