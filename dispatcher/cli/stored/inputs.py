"""Commands about input images."""

from pathlib import Path
from typing import Any

import click

from dispatcher.cli.common import allowed_of, echo_json, json_option, open_farm


@click.command(short_help="Bring input images into the object store.")
@click.argument("pictures", nargs=-1, required=True, metavar="FILE|FOLDER...")
@json_option
def put(pictures: tuple[str, ...], as_json: bool) -> None:
    """Bring pictures into the object store; of a folder, every picture in it.

    Prints sha256:..., the name and the size of each. A job may name a picture by that hash, on any machine that
    reaches the farm. Jobs bring their own pictures along by themselves. A picture that is there is not sent again.
    """
    from dispatcher.inputs import say_inputs, store_inputs
    from storage.spec.file.inputs import InputImages
    from storage.spec.file.jobfile import FolderSource

    farm = open_farm()
    inputs = InputImages(Path(), allowed_of(farm))
    taken: list[tuple[str, str]] = []
    for given in pictures:
        if Path(given).is_dir():
            files = inputs.find(FolderSource(folder=given), path="FOLDER")
            hashes = inputs.take_files(files, path="FOLDER")
            taken += zip(hashes, map(str, files), strict=True)
        else:
            taken.append((inputs.take(given, path="FILE"), given))
    store_inputs(inputs.facts, inputs.files, store=farm.store, say=say_inputs)
    lines = [{"sha256": found, **inputs.facts[found], "name": _shown(name)} for found, name in taken]
    if as_json:
        echo_json(lines)
        return
    for line in lines:
        click.echo(f"{line['sha256']}  {line['name']}{_size(line)}")


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # a file may be called what no terminal can print


def _size(line: dict[str, Any]) -> str:
    return f"  {line['width']}x{line['height']}" if "width" in line else ""  # one named by its hash has none
