"""A server process that never outlives the test session.

It leads its own process group, which is killed as a whole. Where `setpriv` exists (any Linux), the kernel also kills it
when the session dies without cleaning up.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

READY_S = 30.0  # ten times what the slowest needs on a busy machine
STOP_S = 5.0
POLL_S = 0.02

# The kernel's "my parent died" means the thread that forked. This thread lives as long as the session.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")


class ServerError(Exception):
    """A server did not come up. The text says why, with the end of its log."""


class Program:
    """One command, started and ended any number of times."""

    def __init__(
        self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, user: str | None = None
    ) -> None:
        self.command = list(command)
        self.log = log
        self._env = dict(os.environ) if env is None else dict(env)
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool]) -> None:
        """Start it and wait until `ready` says so. Raises `ServerError`."""
        watched = ["setpriv", "--pdeathsig", "KILL", *self.command] if shutil.which("setpriv") else self.command
        with self.log.open("ab") as log:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "env": self._env}
            options |= {"start_new_session": True} | as_user(self._user)
            self._process = _spawner.submit(lambda: subprocess.Popen(watched, **options)).result()
        deadline = time.monotonic() + READY_S
        while not ready():
            if not self.running or time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise ServerError(f"{self.command[0]} is not ready: {_tail(self.log)}")
            time.sleep(POLL_S)

    def end(self, how: signal.Signals) -> None:
        """Send a signal, and SIGKILL to the whole group if that does not end it soon."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with suppress(subprocess.TimeoutExpired):
            process.send_signal(how)
            process.wait(STOP_S)
        with suppress(ProcessLookupError):  # the usual case: nothing of the group is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def as_user(name: str | None) -> dict[str, Any]:
    """Arguments of `subprocess` that drop from root to a user; none for None."""
    if name is None:
        return {}
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def free_port() -> int:
    """Pick a TCP port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-4:]) or "no output"
