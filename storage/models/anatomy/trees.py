"""Named files with something to read them by: a folder of this host, or a repository of the hub looked at from afar.

What a model is made of is decided on names, small JSON files and safetensors headers. So it can be decided before
anything large is fetched, by the same code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from storage.errors import ModelUnusable
from storage.models.anatomy.headers import Header, read_header

SMALL: Final = 64 * 2**20  # bytes; above that a JSON file is no config


class Place(Protocol):
    """Where named files can be looked into."""

    def read(self, name: str) -> bytes:
        """The bytes of a small file. Raises ModelUnusable, ModelMissing."""

    def header(self, name: str) -> Header:
        """The header of a safetensors file. Raises ModelUnusable, ModelMissing."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Files by their name here; a name goes to the name that the place knows."""

    source: str  # how the user named the model, for messages
    names: Mapping[str, str]
    place: Place

    def under(self, folder: str) -> "Tree":
        """The part below a folder, with names that begin there."""
        start = f"{folder}/"
        inside = {name.removeprefix(start): known for name, known in self.names.items() if name.startswith(start)}
        return Tree(self.source, inside, self.place)

    def top(self, suffix: str = "") -> list[str]:
        """Sorted names that lie in no folder and end so."""
        return sorted(name for name in self.names if "/" not in name and name.endswith(suffix))

    def folders(self) -> set[str]:
        """Names of the folders at the top."""
        return {name.partition("/")[0] for name in self.names if "/" in name}

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object; empty if there is no such file. Raises ModelUnusable: something else."""
        if name not in self.names:
            return {}
        try:
            entry = json.loads(self.place.read(self.names[name]))
        except (ValueError, RecursionError) as error:
            raise ModelUnusable(self.source, f"{self.names[name]} cannot be read: {error}") from None
        if not isinstance(entry, dict):
            raise ModelUnusable(self.source, f"{self.names[name]} is not a JSON object")
        return entry

    def header(self, name: str) -> Header:
        """The header of a safetensors file. Raises ModelUnusable."""
        return self.place.header(self.names[name])


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """A folder of this host."""

    root: Path
    source: str

    def read(self, name: str) -> bytes:
        """See `Place.read`."""
        try:
            size = (self.root / name).stat().st_size
            check_small(name, size, source=self.source)
            return (self.root / name).read_bytes()
        except OSError as error:
            raise ModelUnusable(self.source, f"{name} cannot be read: {error.strerror}") from None

    def header(self, name: str) -> Header:
        """See `Place.header`."""
        return read_header(self.root / name, source=self.source)


def check_small(name: str, size: int, *, source: str) -> None:
    """Raise ModelUnusable for a config of more bytes than any config has."""
    if size > SMALL:
        raise ModelUnusable(source, f"{name} has {size} bytes, too many for a config")


def local_tree(folder: Path, *, source: str) -> Tree:
    """All files below a folder, hidden ones left out."""
    found = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    names = {name: name for name in found if not any(part.startswith(".") for part in name.split("/"))}
    return Tree(source, names, LocalPlace(folder, source))
