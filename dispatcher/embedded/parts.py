"""Programs that the embedded farm starts: each in a session of its own, found again after its starter was killed.

A part inherits a locked file. The lock lives exactly as long as the part does, so whoever finds it locked knows that
the process named in it is alive and is that part: no process number is ever mistaken.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from storage.errors import PartFailed

POLL_S = 0.02
KILL_S = 5.0  # the kernel's time to end what was killed


class Part:
    """One running program with its log and its lock."""

    def __init__(
        self, name: str, command: Sequence[str], *, home: Path, env: Mapping[str, str], stdin: str = ""
    ) -> None:
        """Start it.

        Args:
            name: Names the lock and the log.
            command: Program and arguments; secrets go through env or stdin, never here.
            home: FARM_HOME.
            env: Its whole environment.
            stdin: Text for its standard input.

        Raises:
            PartFailed: It cannot be executed.
        """
        self.name = name
        self.log = home / "logs" / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        lock_path = _lock_path(home, name)
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=dict(env), pass_fds=[descriptor],
                    start_new_session=True,
                )  # fmt: skip
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, str(self._process.pid).encode(), 0)
        except OSError as error:
            raise PartFailed(name, error.strerror or str(error), self.log) from None
        finally:
            os.close(descriptor)
        assert self._process.stdin is not None
        _tell(self._process.stdin, stdin)

    @property
    def pid(self) -> int:
        """Its process, which leads its process group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def stop(self, *, patience_s: float) -> None:
        """Ask it to end; kill its whole group after `patience_s` seconds."""
        if self.is_alive:
            _signal_group(self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=patience_s)
        _signal_group(self.pid, signal.SIGKILL)
        self._process.wait()

    def kill(self) -> None:
        """End its whole group at once. A signal handler may call it while `stop` waits."""
        _signal_group(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + KILL_S
        while self.is_alive and time.monotonic() < deadline:  # `wait` would want the lock that `stop` may hold
            time.sleep(POLL_S)

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def end_orphans(home: Path) -> list[str]:
    """Kill the parts that a killed starter left behind. Returns their names."""
    ended = []
    for lock_path in sorted((home / "parts").glob("*.lock")):
        with lock_path.open("r+b") as lock:
            if _is_free(lock.fileno()):
                continue
            pid = int(lock.read() or b"0")
            if pid:
                _signal_group(pid, signal.SIGTERM)
                if not _wait_free(lock.fileno(), patience_s=5):
                    _signal_group(pid, signal.SIGKILL)
                    _wait_free(lock.fileno(), patience_s=5)
                ended.append(lock_path.stem)
    return ended


def _tell(program: IO[bytes], text: str) -> None:
    """Give a program its standard input. One that is dead already needs none, and its log says why it died."""
    with contextlib.suppress(BrokenPipeError):
        program.write(text.encode())
    with contextlib.suppress(BrokenPipeError):
        program.close()


def _lock_path(home: Path, name: str) -> Path:
    return home / "parts" / f"{name}.lock"


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _wait_free(descriptor: int, *, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not _is_free(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
