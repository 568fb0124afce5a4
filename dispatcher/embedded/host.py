"""The embedded farm: broker, dispatcher and workers of one host, started and tended by one command.

One process holds the lock of FARM_HOME and owns the parts. A second command beside it joins: it uses the same broker,
and takes the parts over if the owner ends before its own job does.
"""

import fcntl
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dispatcher.embedded.parts import POLL_S, Part, end_orphans
from dispatcher.embedded.valkey import BrokerAddress, known_address, new_address, start_valkey
from storage.errors import DiskFull, InvalidSetting, PartFailed
from storage.settings import Settings

WORKER_PATIENCE_S = 20.0  # a worker ends its step, stores what it has and says so
DISPATCHER_PATIENCE_S = 10.0
MAX_QUICK_RESTARTS = 5
JOIN_S = 15.0


class EmbeddedFarm:
    """Use as a context manager, and call `tend` now and then."""

    def __init__(self, settings: Settings, *, devices: str) -> None:
        self._settings = settings
        self._devices = devices
        self._lock: IO[bytes] | None = None
        self._address: BrokerAddress | None = None
        self._parts: dict[str, Part] = {}
        self._restarts: dict[str, list[float]] = {}

    @property
    def is_owner(self) -> bool:
        """Whether this process runs the parts, or joined another one that does."""
        return self._lock is not None

    @property
    def broker_url(self) -> str:
        """The broker that this farm uses."""
        if self._settings.broker_url is not None:
            return self._settings.broker_url.get_secret_value()
        assert self._address is not None
        return self._address.url

    def __enter__(self) -> Self:
        """Start the parts, or join the process that runs them.

        Raises:
            PartFailed: A part did not come up.
        """
        _make_home(self._settings.home)
        if self._take_lock():
            self._start()
        else:
            self._join()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def tend(self) -> None:
        """Restart what died; take over where the owner is gone.

        Raises:
            PartFailed: A part keeps dying.
        """
        if not self.is_owner:
            if self._take_lock():
                self._start()
            return
        for name, part in list(self._parts.items()):
            if not part.is_alive:
                self._count_restart(name, part)
                self._start_part(name)

    def stop(self) -> None:
        """End the parts in the order in which they need each other; do nothing where we only joined."""
        if self._lock is None:
            return
        for name, patience_s in (
            ("workers", WORKER_PATIENCE_S), ("dispatcher", DISPATCHER_PATIENCE_S), ("broker", 5.0),
        ):  # fmt: skip
            part = self._parts.get(name)
            if part is not None:
                part.stop(patience_s=patience_s)
                self._parts.pop(name, None)
        self._lock.close()
        self._lock = None

    def kill(self) -> None:
        """End the parts at once. A signal handler may call it while `stop` waits for one of them."""
        for part in self._parts.values():
            part.kill()
        self._parts.clear()
        self.stop()

    def _take_lock(self) -> bool:
        lock = (self._settings.home / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def _start(self) -> None:
        end_orphans(self._settings.home)
        try:
            if self._settings.broker_url is None:
                self._address = new_address(self._settings.home)
                self._start_part("broker")
            self._start_part("dispatcher")
            self._start_part("workers")
        except BaseException:
            self.kill()
            raise

    def _join(self) -> None:
        deadline = time.monotonic() + JOIN_S
        while self._settings.broker_url is None and self._address is None:
            self._address = known_address(self._settings.home)
            if self._address is None and time.monotonic() > deadline:
                raise PartFailed("broker", "another farm command holds the lock and has none", self._settings.home)
            time.sleep(POLL_S)

    def _start_part(self, name: str) -> None:
        if name == "broker":
            assert self._address is not None
            self._parts[name] = start_valkey(self._address, home=self._settings.home)
            return
        commands = {
            "dispatcher": [sys.executable, "-m", "dispatcher.cli", "dispatcher"],
            "workers": [sys.executable, "-m", "worker.cli", "start", "--devices", self._devices],
        }
        env = {**os.environ, "FARM_HOME": str(self._settings.home), "FARM_BROKER_URL": self.broker_url}
        env["FARM_CHUNK_S"] = str(self._settings.chunk_s)
        env["FARM_RENDERER"] = self._settings.renderer
        self._parts[name] = Part(name, commands[name], home=self._settings.home, env=env)

    def _count_restart(self, name: str, part: Part) -> None:
        now = time.monotonic()
        recent = [when for when in self._restarts.get(name, []) if now - when < 60]
        self._restarts[name] = [*recent, now]
        if len(recent) >= MAX_QUICK_RESTARTS:
            raise PartFailed(name, f"it died {len(recent) + 1} times in a minute: {part.last_words()}", part.log)


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == 28:
            raise DiskFull(home) from None
        raise InvalidSetting("FARM_HOME", str(home), f"cannot be created: {error.strerror}") from None
