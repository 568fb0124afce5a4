"""Commands about models: register them, look at them, fetch them, forget them."""

from dataclasses import asdict
from typing import Any

import click

from dispatcher.cli.common import echo_json, json_option, open_farm
from dispatcher.cli.root import NearGroup
from dispatcher.wording import human
from storage.models import KINDS


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of registered models, for the shell; none where the farm cannot be asked."""
    from storage.errors import FarmError
    from storage.sql import registry

    try:
        with open_farm().database.read() as connection:
            names = [model.name for model in registry.listing(connection)]
    except FarmError:
        return []
    return [name for name in names if name.startswith(incomplete)]


name_argument = click.argument("name", shell_complete=_complete)
kind_choice = click.Choice(KINDS)


@click.group(cls=NearGroup)
def model() -> None:
    """Register models, so that jobs name them and every host renders the same bytes."""


@model.command()
@click.argument("name")
@click.argument("source")
@click.option("--kind", type=kind_choice, help="What it must be. [default: whatever it is]")
@click.option("--variant", metavar="NAME", help="Which copy of the weights, such as fp16. [default: the plain one]")
@click.option("--path", metavar="PATH", help="On the hub: one file or folder of the repository.")
@click.option("--encoder", metavar="PATH", help="On the hub, of an IP-Adapter: the folder of its image encoder.")
@json_option
def add(
    name: str, source: str, kind: str | None, variant: str | None, path: str | None, encoder: str | None, as_json: bool
) -> None:
    """Register SOURCE as NAME, frozen: by its digest in the object store, or by its commit on the hub.

    SOURCE is a folder as diffusers writes it, a .safetensors file (checkpoint, LoRA, embedding, VAE, ControlNet,
    IP-Adapter), or owner/name@revision of the Hugging Face hub.

    Pickles (.ckpt, .bin, .pt) are refused: they run code when they are loaded.
    """
    from dispatcher.registration import Wanted, register

    wanted = Wanted(name=name, source=source, kind=kind, variant=variant, path=path, encoder=encoder)
    added, is_new = register(open_farm(), wanted, say=_say)
    if as_json:
        echo_json({**asdict(added), "new": is_new})
        return
    click.echo(f"model {added.name} {'added' if is_new else 'is there already'}: {added.kind}, {added.family}")
    click.echo(f"  {added.digest}, {human(added.bytes)}, from {added.source}")


@model.command()
@click.option("--kind", type=kind_choice, help="Only models of this kind.")
@json_option
def ls(kind: str | None, as_json: bool) -> None:
    """List the registered models."""
    from storage.sql import registry

    with open_farm().database.read() as connection:
        found = registry.listing(connection, kind=kind)
    if as_json:
        echo_json([asdict(one) for one in found])
        return
    if not found:
        click.echo("no models yet; ./farm model add NAME SOURCE registers one")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "kind", "family", "size", "source"):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for one in found:
        table.add_row(one.name, one.kind, one.family, human(one.bytes), one.source)
    Console().print(table)


@model.command()
@name_argument
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one model: where it comes from, its digest, its files."""
    from dispatcher.registration import find

    farm = open_farm()
    found = find(farm, name)
    said: dict[str, Any] = {**asdict(found), "files": _files(farm, found.source)}
    if as_json:
        echo_json(said)
        return
    for key, value in said.items():
        for place, line in enumerate(value if isinstance(value, list) else [value]):
            text = "-" if line is None else f"{line['size']:>14}  {line['name']}" if isinstance(line, dict) else line
            click.echo(f"{key if not place else '':<10} {text}")


@model.command()
@name_argument
def pull(name: str) -> None:
    """Fetch a model to this host now, so that the first job need not wait for it."""
    from dispatcher.registration import find
    from storage.models.local import LocalModels

    farm = open_farm()
    found = find(farm, name)
    place = LocalModels(farm.settings.home, farm.store, say=_say).find(found.source, kind=found.kind)
    click.echo(f"model {name} lies in {place}")


@model.command()
@name_argument
def rm(name: str) -> None:
    """Forget a model, and remove its files from the object store where no other model holds them.

    A model that an open job names stays. Copies that hosts have fetched stay until somebody deletes them.
    """
    from dispatcher.registration import unregister

    gone = unregister(open_farm(), name)
    click.echo(f"model {gone.name} removed ({gone.digest})")


def _files(farm: Any, source: str) -> list[dict[str, Any]] | None:
    from storage.models.archive import Archive
    from storage.models.sources import stored_digest

    stored = stored_digest(source)
    if stored is None:
        return None
    return [
        {"name": file.name, "size": file.size, "sha256": file.sha256}
        for file in Archive(farm.store).listing(stored).files
    ]


def _say(done: int, total: int) -> None:
    if total:
        click.echo(f"  {100 * done // total:3d} % of {human(total)}", err=True)
