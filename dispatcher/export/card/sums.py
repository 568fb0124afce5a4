"""SHA256SUMS of an export: every file but itself, as `sha256sum -c` reads it."""

from collections.abc import Iterator, Mapping
from typing import Final

from dispatcher.export.index import Index
from dispatcher.export.targets import Target

SUMS: Final = "SHA256SUMS"


def checksums(target: Target, index: Index, *, known: Mapping[str, str] | None = None) -> str:
    """The text of the file. Of shards and tables the hash is the index's; only small files are read again.

    A file whose hash is known is told of even if it is not there: what was lost must be missed.

    Args:
        target: Where the export is.
        index: Of the export.
        known: Hashes of further files, such as pictures that lie beside a table which names them.
    """
    hashes = {**_of_index(index), **(known or {})}
    names = sorted({*target.list(), *hashes} - {SUMS})
    return "".join(line_of(hashes.get(name) or target.sha256(name), name) for name in names)


def line_of(sha256: str, name: str) -> str:
    """One line; a name with a backslash or a line end is escaped as GNU's sha256sum does."""
    plain = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if plain == name else chr(92)}{sha256}  {plain}\n"


def read_sums(text: str) -> Iterator[tuple[str, str]]:
    """Names and hashes of a SHA256SUMS file. Raises ValueError for a line that is none."""
    for place, entry in enumerate(text.split("\n"), start=1):
        if not entry:
            continue
        escaped, body = entry.startswith("\\"), entry.removeprefix("\\")
        sha256, gap, name = body[:64], body[64:66], body[66:]
        if gap not in ("  ", " *") or not name or len(sha256.strip("0123456789abcdef")) > 0:
            raise ValueError(f"line {place}: must be 64 hex digits, two spaces and a name")
        yield (_plain(name) if escaped else name), sha256


def _plain(name: str) -> str:
    pieces = name.split("\\\\")
    return "\\".join(piece.replace("\\n", "\n").replace("\\r", "\r") for piece in pieces)


def _of_index(index: Index) -> dict[str, str]:
    found = {}
    for name, shard in (*index.shards.items(), *index.rejected.items()):
        found[name] = shard.sha256
        found[shard.metadata] = shard.metadata_sha256
    return found
