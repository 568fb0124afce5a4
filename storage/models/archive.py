"""Models in the object store: every file once, under its SHA-256, and one listing a model that is written last.

models/blobs/<sha256>      the bytes of a file, shared by all models that hold it
models/<digest hex>.json   kind, family and the files of a model
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from storage.blobs import BlobStore, FolderStore
from storage.errors import BlobMissing, ModelMissing, ModelUnusable
from storage.models.digests import Hashes, digest_of, hash_file
from storage.models.layout import FILE, Layout
from storage.models.progress import Progress, Say
from storage.models.room import require_room
from storage.models.sources import STORE

ROOT: Final = "models/"
_PARTS: Final = "parts"  # folder of half-fetched files, beside the models
_DONE: Final = ".complete"
_BROKEN: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """One file of a stored model."""

    name: str
    sha256: str
    size: int  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A stored model."""

    kind: str
    family: str
    files: tuple[StoredFile, ...]

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """The model's digest."""
        return digest_of({file.name: file.sha256 for file in self.files})


class Archive:
    """The models of one object store."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def put(self, layout: Layout, *, hashes: Hashes, say: Say) -> Listing:
        """Store a model; files that are there already are not sent. Safe to repeat.

        Args:
            layout: The model on this host.
            hashes: What is known of its files.
            say: Hears (bytes dealt with, bytes in all) at each tenth; every byte counts twice: hashed, and sent.

        Raises:
            StoreAway: Some files may be there already; repeat.
            DiskFull: The store has no room.
        """
        sizes = {name: file.stat().st_size for name, file in layout.files.items()}
        progress = Progress(2 * sum(sizes.values()), say)
        known = {name: hashes.of(file, tell=progress.tell) for name, file in layout.files.items()}
        for name, file in layout.files.items():
            key = _blob_key(known[name])
            there = self._store.head(key)
            if there is not None and there.size == sizes[name]:
                progress.tell(sizes[name])
            else:
                self._store.put_file(key, file, tell=progress.tell)
        files = tuple(StoredFile(name=name, sha256=known[name], size=sizes[name]) for name in sorted(known))
        listing = Listing(kind=layout.kind, family=layout.family, files=files)
        self._store.put(_listing_key(listing.digest), _dump(listing), content_type="application/json")
        return listing

    def listing(self, stored: str) -> Listing:
        """The listing of a model, by the 64 hex digits of its digest. Raises ModelMissing, StoreAway."""
        source = STORE + stored
        try:
            listing = _load(json.loads(self._store.get(_listing_key(stored))))
        except BlobMissing:
            raise ModelMissing(source, "the object store has none of that digest; run 'farm model add' again") from None
        except _BROKEN as error:
            raise ModelUnusable(source, f"its listing in the store cannot be read: {error}") from None
        if listing.digest != f"sha256:{stored}":
            raise ModelUnusable(source, "its listing in the store is not that of this digest")
        return listing

    def fetch(self, stored: str, folder: Path, *, hashes: Hashes | None, say: Say) -> Path:
        """Bring a model to this host, continuing what was cut off. The caller sees to it that nobody else does.

        Returns:
            The folder, or the one file that the model is.

        Raises:
            ModelMissing: The store has none, or not all of it.
            ModelUnusable: The store holds other bytes than it should.
            DiskFull: It does not fit.
            StoreAway: What came so far is kept.
        """
        done = folder / _DONE
        if not _is_whole(folder, done):
            listing = self.listing(stored)
            wanted = [file for file in listing.files if not _is_there(folder / file.name, file)]
            self._require_room(folder, wanted)
            progress = Progress(sum(file.size for file in wanted), say)
            for file in wanted:
                self._fetch_file(file, folder, source=STORE + stored, progress=progress)
                if hashes is not None:
                    hashes.remember(folder / file.name, file.sha256)
            done.write_bytes(_dump(listing))
        return folder / FILE if (folder / FILE).is_file() else folder

    def remove(self, stored: str, *, kept: Iterable[str]) -> None:
        """Remove a model and those of its files that none of the models `kept` (hex digits) holds."""
        listing = self.listing(stored)
        shared = {file.sha256 for other in kept for file in self.listing(other).files}
        self._store.delete([_listing_key(listing.digest)])
        self._store.delete(_blob_key(file.sha256) for file in listing.files if file.sha256 not in shared)

    def _fetch_file(self, file: StoredFile, folder: Path, *, source: str, progress: Progress) -> None:
        draft = folder.parent / _PARTS / file.sha256
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._store.get_file(_blob_key(file.sha256), draft, tell=progress.tell)
        except BlobMissing:
            raise ModelMissing(source, f"the store lacks {file.name}; run 'farm model add' again") from None
        if hash_file(draft) != file.sha256:
            draft.unlink()
            raise ModelUnusable(source, f"{file.name} in the store has other bytes than its name says; add it again")
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(target)

    def _require_room(self, folder: Path, wanted: list[StoredFile]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self._store, FolderStore) and self._store.root.stat().st_dev == folder.stat().st_dev:
            return  # one volume holds both, and files are linked
        parts = (folder.parent / _PARTS / file.sha256 for file in wanted)
        here = sum(part.stat().st_size for part in parts if part.is_file())
        require_room(folder, sum(file.size for file in wanted) - here)


def _blob_key(sha256: str) -> str:
    return f"{ROOT}blobs/{sha256}"


def _listing_key(digest: str) -> str:
    return f"{ROOT}{digest.removeprefix('sha256:')}.json"


def _is_there(path: Path, file: StoredFile) -> bool:
    """Only whole and checked files carry their final name, so the size is enough."""
    return path.is_file() and path.stat().st_size == file.size


def _is_whole(folder: Path, done: Path) -> bool:
    """Whether an earlier fetch came to its end, and nothing left since."""
    try:
        listing = _load(json.loads(done.read_bytes()))
    except (OSError, *_BROKEN):
        return False
    return all(_is_there(folder / file.name, file) for file in listing.files)


def _dump(listing: Listing) -> bytes:
    files = [{"name": file.name, "sha256": file.sha256, "size": file.size} for file in listing.files]
    return json.dumps({"schema": 1, "kind": listing.kind, "family": listing.family, "files": files}).encode()


def _load(entry: Mapping[str, Any]) -> Listing:
    files = tuple(StoredFile(**file) for file in entry["files"])
    for file in files:
        parts = file.name.split("/")
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            raise ValueError("a name leads out of the folder")
        if not _HEX.fullmatch(file.sha256) or not isinstance(file.size, int) or file.size < 0:
            raise ValueError("a file without hash or size")
    return Listing(kind=str(entry["kind"]), family=str(entry["family"]), files=files)
