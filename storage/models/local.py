"""From the name of a model to its files on this host; what is not here is fetched, once per host."""

import hashlib
import json
import logging
from pathlib import Path

from storage.blobs import BlobStore
from storage.errors import ModelMissing
from storage.models import hub
from storage.models.archive import Archive
from storage.models.digests import Hashes
from storage.models.progress import Say, logged
from storage.models.room import alone
from storage.models.sources import HubSource, parse_hub, stored_digest

log = logging.getLogger(__name__)


class LocalModels:
    """The models of one host. Several processes may use the same folder at once."""

    def __init__(
        self, home: Path, store: BlobStore | None, *, hashes: Hashes | None = None, say: Say | None = None
    ) -> None:
        """Keep fetched models in `home`/models (FARM_HOME).

        Args:
            home: Folder of this host's state.
            store: Where 'farm model add' froze models; None: none can be had from there.
            hashes: Learns the hashes of files that were checked while they were fetched.
            say: Hears (bytes fetched, bytes in all) at each tenth; None: log lines.
        """
        self._folder = home / "models"
        self._store = store
        self._hashes = hashes
        self._say = say

    def find(self, source: str, *, kind: str | None) -> Path:
        """Where a model lies on this host: a folder, or a .safetensors file.

        Args:
            source: As a frozen spec names it; see `storage.models.sources`.
            kind: One of KINDS; None: whatever it is.

        Raises:
            ModelMissing: It is not here, and cannot be fetched.
            ModelUnusable: The hub has something else under that name.
            DiskFull: It does not fit.
            StoreAway: The object store does not answer.
        """
        path = Path(source)
        if path.exists():
            return path
        if path.is_absolute() or source.startswith("."):
            raise ModelMissing(source, "no such file or folder on this host; copy or mount it there under that path")
        stored = stored_digest(source)
        if stored is not None:
            return self._from_store(source, stored)
        named = parse_hub(source)
        if named is None:
            raise ModelMissing(source, "must be a path, owner/name@revision of the hub, or a name of 'farm model ls'")
        return self._from_hub(named, kind)

    def _from_store(self, source: str, stored: str) -> Path:
        if self._store is None:
            raise ModelMissing(source, "this host has no object store to take it from; set FARM_STORE_URL")
        with alone(self._folder / f"{stored}.lock", waiting_for=source):
            return Archive(self._store).fetch(
                stored, self._folder / stored, hashes=self._hashes, say=self._say or logged(source)
            )

    def _from_hub(self, named: HubSource, kind: str | None) -> Path:
        record = self._folder / "hub" / f"{hashlib.sha256(str(named).encode()).hexdigest()}.json"
        kept = _complete(record) if named.is_frozen else None
        if kept is None:
            with alone(record.with_suffix(".lock"), waiting_for=str(named)):
                kept = self._ask_hub(named, kind, record)
        return kept / named.path if named.path else kept

    def _ask_hub(self, named: HubSource, kind: str | None, record: Path) -> Path:
        try:
            remote = hub.look(named, kind)
        except ModelMissing as refused:
            kept = _complete(record) or hub.cached_folder(named)
            if kept is None:
                raise
            log.warning("model taken from the cache", extra={"model": str(named), "reason": refused.args[1]})
            return kept
        folder = hub.fetch(remote, say=self._say or logged(str(named)))
        names = sorted(set(remote.outline.names.values()))
        record.write_text(json.dumps({"folder": str(folder), "names": names}))
        return folder


def _complete(record: Path) -> Path | None:
    """The folder that an earlier fetch filled, if all of it is still there."""
    try:
        known = json.loads(record.read_text())
        folder = Path(known["folder"])
        return folder if all((folder / name).is_file() for name in known["names"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
