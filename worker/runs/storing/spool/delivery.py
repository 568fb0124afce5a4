"""One run's way to the store: straight, after a short wait, or by way of this worker's disk."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from storage.errors import DiskFull, TransientError
from storage.wire import keys
from storage.wire.messages import Manifest
from worker.runs.patience import Patience
from worker.runs.storing.spool.disk import spooled_run
from worker.runs.storing.spool.sending import MANIFEST_TYPE, Spool

log = logging.getLogger(__name__)

_REST_S: Final = 1.0  # while there is no room: the store may be back, or something may have been sent


class Delivery:
    """Stores the objects of one run. `put` may be called from several threads; `close` or `abandon` comes last."""

    def __init__(self, spool: Spool, *, run: str, prefix: str, patience: Patience) -> None:
        """Store what lies under `prefix`."""
        self.waited_s = 0.0  # all threads together, without the tries that went well
        self._spool = spool
        self._run = run
        self._prefix = prefix
        self._patience = patience
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes, *, content_type: str) -> str:
        """Store an object, or keep it for the store; wait where there is room for neither.

        Args:
            name: Below the run's prefix.
            data: All of it.
            content_type: As in `BlobStore.put`.

        Returns:
            Its key.

        Raises:
            TransientError, DiskFull: It lies nowhere, and patience has ended.
        """
        key = self._prefix + name
        send = partial(self._spool.put, key, data, content_type=content_type)
        self._do_one(send, lambda: self._spool.keep(self._run, name, data), what=key)
        return key

    def put_if_easy(self, name: str, data: bytes, *, content_type: str) -> str | None:
        """Store an object that nobody has to have, if the store takes it at once. Returns its key, if so."""
        key = self._prefix + name
        if self._spool.gate.reason is not None:
            return None
        send = partial(self._spool.put, key, data, content_type=content_type)
        try:
            self._patience.insist(send, what=key, limit_s=0)
        except (TransientError, DiskFull) as error:
            log.warning("previews left out", extra={"key": key, "reason": error})
            return None
        return key

    def close(self, manifest: Manifest, data: bytes) -> bool:
        """Store the manifest, after all that it names.

        Returns:
            Whether it lies in the store already; else it lies in the spool.

        Raises:
            TransientError, DiskFull: It lies nowhere, and patience has ended.
        """
        while self._spool.holds(self._run):  # what waits goes first, and is sent by the one thread that sends
            if self._spool.finish(manifest, data):
                return False
            self._send_rest(manifest)
        key = keys.manifest_key(self._prefix)
        send = partial(self._spool.put, key, data, content_type=MANIFEST_TYPE)
        is_sent = self._do_one(send, lambda: self._spool.finish(manifest, data), what=key)
        if is_sent:
            self._spool.forget(self._run)
        return is_sent

    def abandon(self) -> None:
        """Give up the run: what waits on the disk is not wanted any more."""
        self._spool.forget(self._run)

    def _send_rest(self, manifest: Manifest) -> None:
        """The disk has no room for a manifest: bring the images that it holds to the store ourselves."""
        try:
            self._spool.send(spooled_run(manifest))
        except (TransientError, DiskFull) as error:
            self._spool.refused(error)
            if self._patience.ends():
                raise
            self._patience.rest(_REST_S)

    def _do_one(self, send: Callable[[], None], keep: Callable[[], bool], *, what: str) -> bool:
        """Do one of the two; returns whether it was `send`."""
        begun = time.monotonic()
        error: Exception = DiskFull(what)
        while True:
            limit_s = self._spool.gate.ask()
            if limit_s is not None:
                try:
                    last = self._send(send, what=what, limit_s=limit_s)
                except (TransientError, DiskFull) as refused:
                    error = refused
                else:
                    self._count(last - begun)
                    return True
            if keep():
                self._count(time.monotonic() - begun)
                return False
            if self._patience.ends():
                raise error
            self._patience.rest(_REST_S)

    def _send(self, send: Callable[[], None], *, what: str, limit_s: float) -> float:
        """Insist on `send`; returns when the try began that went well."""
        begun = [0.0]

        def attempt() -> None:
            begun[0] = time.monotonic()
            send()

        try:
            self._patience.insist(attempt, what=what, limit_s=limit_s)
        except (TransientError, DiskFull) as error:
            self._spool.refused(error)
            raise
        self._spool.answered()
        return begun[0]

    def _count(self, waited_s: float) -> None:
        with self._lock:
            self.waited_s += waited_s
