"""Publishing from beginning to end: what is missing there is sent, commit by commit."""

from collections.abc import Callable
from dataclasses import dataclass

from dispatcher.export.publishing.commits import commits, missing
from dispatcher.export.publishing.parcel import Parcel
from dispatcher.export.publishing.repository import Repository, git_hashes


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """How far it is."""

    files: int
    bytes: int
    of_files: int  # that were missing when it began
    of_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What came of it."""

    sent: Sent
    there: int  # files that the hub had already
    strangers: tuple[str, ...]  # files there that the export does not have
    is_public: bool
    commit: str | None  # the last one; None if nothing was missing


Say = Callable[[Sent], None]


def publish(parcel: Parcel, repository: Repository, *, public: bool, message: str, say: Say) -> Published:
    """Bring the hub what it lacks of an export. Safe to repeat after any failure.

    Args:
        parcel: The export.
        repository: Where to.
        public: Whether a new repository is to be public.
        message: Of the commits.
        say: Hears how far it is after each commit.

    Raises:
        HubRefuses: Nothing was sent, or what was sent stays.
        HubAway: Repeat it; what was sent stays.
    """
    is_public = repository.prepare(public=public)
    repository.check_card(parcel.card)
    there = repository.files()
    hashes = {name: found for name, (found, _) in there.items()}
    lacking = missing(parcel.entries, hashes, git_hash=git_hashes(parcel.root, there, parcel.entries))
    batches = list(commits(lacking))
    of_files, of_bytes = len(lacking), sum(entry.bytes for entry in lacking)
    sent, commit = Sent(files=0, bytes=0, of_files=of_files, of_bytes=of_bytes), None
    for place, batch in enumerate(batches, start=1):
        part = f" ({place} of {len(batches)})" if len(batches) > 1 else ""
        commit = repository.commit(parcel.root, batch, message=message + part)
        files, size = sent.files + len(batch), sent.bytes + sum(entry.bytes for entry in batch)
        sent = Sent(files=files, bytes=size, of_files=of_files, of_bytes=of_bytes)
        say(sent)
    ours = {entry.name for entry in parcel.entries} | {".gitattributes"}
    return Published(
        sent=sent, there=len(parcel.entries) - of_files, strangers=tuple(sorted(there.keys() - ours)),
        is_public=is_public, commit=commit,
    )  # fmt: skip
