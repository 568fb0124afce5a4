"""The spool of a child: what lies there is sent by one thread, images before their manifest, the oldest run first.

Nobody waits for that thread. It ends with the process, whatever it was doing; the next child of the node goes on.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from storage.blobs import BlobStore
from storage.errors import DiskFull, FarmError, StoreAway, TransientError
from storage.spec.encoding import FORMATS
from storage.wire import keys
from storage.wire.messages import Manifest
from worker.child.level import Level
from worker.runs.patience import Patience
from worker.runs.storing.spool.disk import MANIFEST, Disk, SpooledRun, spooled_run
from worker.runs.storing.spool.gate import Gate

log = logging.getLogger(__name__)

MANIFEST_TYPE: Final = "application/json"
_TYPES: Final = {"json": MANIFEST_TYPE, **{kind.suffix: kind.content_type for kind in FORMATS.values()}}
_LOCKED_S: Final = 1.0  # between two tries of a folder that the process before us still has
_LOOK_S: Final = 0.25


class Spool:
    """What waits on this worker's disk for the store. `resume` before the first heartbeat, then `start`."""

    def __init__(self, disk: Disk, store: BlobStore, *, level: Level, scale: float = 1.0) -> None:
        """Send what lies on `disk` to `store`; tell `level` what waits. `scale` multiplies all times."""
        self.gate = Gate(scale=scale)
        self._disk = disk
        self._store = store
        self._level = level
        self._patience = Patience(lambda: False, scale)
        self._full = False
        self._troubled = False  # we said so
        self._runs: dict[str, SpooledRun] = {}  # in the order of sending
        self._work = threading.Event()
        self._lock = threading.Lock()

    def resume(self) -> bool:
        """Take up what an earlier process left. Returns whether the folder is ours."""
        found = self._disk.open()
        if found is None:
            return False
        with self._lock:
            self._runs.update((run.id, run) for run in found)
        if found:
            log.info("spool found", extra={"runs": len(found), "bytes": self._disk.held})
        self._tell()
        return True

    def start(self, send: Callable[[str], object]) -> None:
        """Start the thread that sends; `send` hears the key of each manifest that the store took."""
        threading.Thread(target=self._run, args=(send,), name="spool", daemon=True).start()

    def keep(self, run: str, name: str, data: bytes) -> bool:
        """Keep one object of a run that goes on. Returns False if there is no room."""
        try:
            self._disk.write(run, name, data)
            self._full = False
        except DiskFull:
            self._full = True
        self._tell()
        return not self._full

    def finish(self, manifest: Manifest, data: bytes) -> bool:
        """Keep the manifest of a run; from then on the run is sent. Returns False if it cannot be kept."""
        whole = spooled_run(manifest)
        if not self.keep(whole.id, MANIFEST, data):
            return False
        with self._lock:
            self._runs[whole.id] = whole
        self._tell()
        self._work.set()
        return True

    def holds(self, run: str) -> bool:
        """Whether something of a run lies here."""
        return not self._disk.is_empty(run)

    def forget(self, run: str) -> None:
        """Delete what lies here of a run that goes on, or has ended without a manifest."""
        self._disk.remove(run)
        self._tell()

    def send(self, run: SpooledRun) -> None:
        """Put all files of a run into the store, one by one, the manifest last.

        Raises:
            TransientError, DiskFull: The store does not take them; some may be there already.
            OSError, ValueError: They cannot be read, or are not what the manifest says.
        """
        for name in self._disk.files(run):
            data = self._disk.read(run, name)
            kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
            self.put(run.prefix + name, data, content_type=kind)
            self._disk.drop(run, name)
            self.answered()

    def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Put one object into the store. Raises TransientError, DiskFull; ValueError for a key that cannot be."""
        try:
            self._store.put(key, data, content_type=content_type)
        except (FarmError, ValueError):
            raise
        except Exception as error:  # a library may raise anything
            raise StoreAway(self._store.address, f"{type(error).__name__}: {error}") from error

    def answered(self) -> None:
        """The store took something."""
        if self.gate.answered():
            log.info("object store back", extra={"store": self._store.address, "waiting": self._disk.held})
        self._tell()

    def refused(self, reason: Exception) -> None:
        """The store took nothing, for as long as the caller went on."""
        if self.gate.refused(reason):
            log.warning("object store away", extra={"store": self._store.address, "reason": reason})
        self._tell()

    def _tell(self) -> None:
        """Bring the level to what is so now."""
        with self._lock:
            self._level.spooled = tuple(run.name for run in self._runs.values())
            reason = self.gate.reason
            if reason is not None or self._troubled:
                self._level.trouble = None if reason is None else self._trouble(reason)
            self._troubled = reason is not None

    def _trouble(self, reason: str) -> str:
        held = f", {self._disk.held / 1e6:.1f} MB wait on this disk" if self._disk.held else ""
        full = ", and there is no room for more" if self._full else ""
        return f"object store {self._store.address} is away{held}{full} ({reason})"

    def _run(self, send: Callable[[str], object]) -> None:
        while not self._disk.is_open and not self.resume():
            self._patience.rest(_LOCKED_S)
        while True:
            with self._lock:
                waiting = list(self._runs.values())
            if not waiting:
                self._work.wait()
                self._work.clear()
            for run in waiting:
                while self.gate.ask() is None:
                    self._patience.rest(_LOOK_S)
                if self._settle(run):
                    send(keys.manifest_key(run.prefix))

    def _settle(self, run: SpooledRun) -> bool:
        """Send a run; returns whether the store has it. One that cannot be sent is let go: it is rendered again."""
        is_sent = False
        try:
            self.send(run)
            is_sent = True
            log.info("spooled run stored", extra={**run.name.model_dump(), "run": run.id})
            self._disk.remove(run.id)
        except (TransientError, DiskFull) as error:
            self.refused(error)
            return False
        except ValueError as error:
            log.error("a run in the spool cannot be sent", extra={"run": run.id, "reason": error})
            self._disk.remove(run.id)
        except OSError as error:  # the next process tries it again
            log.error("a run in the spool cannot be read", extra={"run": run.id, "reason": error})
        with self._lock:
            del self._runs[run.id]
        self._tell()
        return is_sent
