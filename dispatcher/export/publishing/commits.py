"""Which files go into which commit. Pure.

A commit of thousands of files runs into the hub's time limit, and one of all shards is lost whole when the line
breaks. What makes the repository look finished (card, checksums, index) goes last, so that a set that is half there is
never taken for a whole one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dispatcher.export.card.croissant import CROISSANT
from dispatcher.export.card.finishing import README
from dispatcher.export.card.licences import NOTES
from dispatcher.export.card.sums import SUMS
from dispatcher.export.index import INDEX
from dispatcher.export.publishing.parcel import Entry

FILES: Final = 100  # of a commit
BYTES: Final = 2 * 10**9  # of a commit; one larger file goes alone
_FACE: Final = frozenset({README, CROISSANT, NOTES, SUMS, INDEX})


def missing(entries: Sequence[Entry], there: Mapping[str, str], *, git_hash: Mapping[str, str]) -> list[Entry]:
    """The files that the hub lacks or has in another version.

    Args:
        entries: Of the export.
        there: Name to hash, as the hub tells it: SHA-256 of large files, git's of small ones.
        git_hash: Git's hash of those of our files that the hub has as small ones.
    """
    return [entry for entry in entries if there.get(entry.name) not in (entry.sha256, git_hash.get(entry.name, ""))]


def commits(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut files into commits: data first, then what describes it."""
    data = [entry for entry in entries if not is_face(entry.name)]
    face = [entry for entry in entries if is_face(entry.name)]
    batch: list[Entry] = []
    for entry in data:
        if batch and (len(batch) == FILES or sum(other.bytes for other in batch) + entry.bytes > BYTES):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
    if face:
        yield face


def is_face(name: str) -> bool:
    """Whether a file tells of the others."""
    return name in _FACE or name.startswith("plots/")
