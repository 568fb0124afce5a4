"""Holding the lead among dispatchers: one at a time, the next one as soon as it is safe."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection

from storage.sql import Database, leading
from storage.sql.leading import Lead, NotLeading
from storage.wire.keys import new_id

log = logging.getLogger(__name__)
TAKEOVER_S = 10.0  # times the farm's scale; how long a leader's beat must stand still before another one takes over


class Leadership:
    """This process' claim to the leader's row."""

    def __init__(
        self, database: Database, *, clock: Callable[[], float] = time.monotonic, takeover_s: float = TAKEOVER_S
    ) -> None:
        self._database = database
        self._clock = clock
        self._takeover_s = takeover_s
        self._host = socket.gethostname()
        self._holder = f"{self._host}:{os.getpid()}:{new_id(6)}"
        self._epoch: int | None = None  # written under the lock
        self._lock = threading.Lock()
        self._watched: tuple[Lead, float] | None = None

    @property
    def leads(self) -> bool:
        """Whether we led when we last looked; every transaction looks again."""
        return self._epoch is not None

    def fence(self, connection: Connection) -> None:
        """Open a transaction as the leader, from whatever thread. Raises NotLeading."""
        epoch = self._epoch
        if epoch is None:
            raise NotLeading(None)
        try:
            leading.fence(connection, epoch)
        except NotLeading:
            self._lose(epoch)
            raise

    def seek(self) -> bool:
        """Keep the lead, or take it where it is free or its holder stands still. Returns whether we lead."""
        with self._database.write() as connection:
            if self._epoch is not None:
                try:
                    self.fence(connection)
                except NotLeading:
                    return False
                return True
            seen = leading.read(connection)
            if not self._may_take(seen):
                return False
            epoch = leading.take(connection, seen, holder=self._holder)
            with self._lock:
                self._epoch = epoch
        log.info("lead taken", extra={"epoch": self._epoch})
        return self._epoch is not None

    def give_up(self) -> None:
        """Leave at the end of this process."""
        if self._epoch is not None:
            with self._database.write() as connection:
                leading.give_up(connection, self._epoch)
            with self._lock:
                self._epoch = None

    def _lose(self, epoch: int) -> None:
        """Note that an epoch is over, once; a thread that comes late must not end the next one."""
        with self._lock:
            if self._epoch != epoch:
                return
            self._epoch = None
        log.warning("lead lost", extra={"epoch": epoch})

    def _may_take(self, seen: Lead) -> bool:
        if not seen.holder or self._is_dead_here(seen.holder):
            return True
        now = self._clock()
        if self._watched is None or self._watched[0] != seen:
            self._watched = (seen, now)
        return now - self._watched[1] > self._takeover_s

    def _is_dead_here(self, holder: str) -> bool:
        """Whether the holder ran on this host and its process is gone."""
        host, _, rest = holder.partition(":")
        if host != self._host:
            return False
        try:
            os.kill(int(rest.partition(":")[0]), 0)
        except ProcessLookupError:
            return True
        except (ValueError, OSError):
            return False
        return False
