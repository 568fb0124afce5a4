"""The processes of a farm under fault: started, watched by their logs, ended and started again."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from farm_desk import FARM, Desk, descendants

LOG_LINES = 25  # shown of every log when a farm is stuck
STOP_S = 40.0


class Works(Desk):
    """Parts by name: d1, d2 (dispatchers), w1, w2, ... (workers)."""

    def __init__(self, folder: Path, **variables: str) -> None:
        super().__init__(folder)
        self.env |= variables
        self.parts: dict[str, subprocess.Popen[str]] = {}
        self._ways: dict[str, tuple[list[str], dict[str, str]]] = {}

    def start(self, *command: str, name: str = "part", **variables: str) -> subprocess.Popen[str]:
        """Start a command whose words go to a log of that name; the kernel ends it with this process."""
        watched = ["setpriv", "--pdeathsig", "KILL", *command] if shutil.which("setpriv") else list(command)
        with self.log(name).open("a") as log:
            process = subprocess.Popen(
                watched, cwd=self.folder, env=self.env | variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                text=True, start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return process

    def dispatcher(self, name: str = "d1", *, crash: str | None = None, **variables: str) -> None:
        """Start a dispatcher; `crash` is one of `faults.crashing.POINTS`, with the call that it dies at: point:3."""
        command = FARM if crash is None else [sys.executable, "-m", "faults.crashing", crash]
        self._launch(name, [*command, "dispatcher"], variables)

    def worker(self, name: str = "w1", **variables: str) -> None:
        """Start a worker of one CPU device; its node is called NAME-cpu."""
        command = [sys.executable, "-m", "worker.cli", "start", "--devices", "cpu", "--name", name]
        self._launch(name, command, variables)

    def again(self, name: str) -> None:
        """Start a part once more as it was started first, unless it runs; a dispatcher's crash point is left out."""
        if not self.runs(name):
            command, variables = self._ways[name]
            if "faults.crashing" in command:
                command = [*FARM, "dispatcher"]
            self._launch(name, command, variables)

    def crash(self, name: str, point: str) -> None:
        """Start a dispatcher once more, to die at a point; after that it is started as before."""
        self._launch(name, [sys.executable, "-m", "faults.crashing", point, "dispatcher"], self._ways[name][1])

    def way(self, name: str) -> list[str]:
        """The command that a part was started with."""
        return list(self._ways[name][0])

    def runs(self, name: str) -> bool:
        """Whether the part's process lives."""
        return name in self.parts and self.parts[name].poll() is None

    def deploy(self, name: str, *, within_s: float = STOP_S) -> None:
        """End a part as a deploy does, which waits so long for it, and start it again."""
        part = self.parts[name]
        part.terminate()
        part.wait(timeout=within_s)
        self.again(name)

    def log(self, name: str) -> Path:
        """Where the words of a part go."""
        return self.folder / f"{name}.log"

    def said(self, name: str, words: str) -> int:
        """How often a part has said that."""
        return self.log(name).read_text(errors="replace").count(words) if self.log(name).exists() else 0

    def words(self) -> str:
        """The last lines of every part."""
        told = []
        for name in self.parts:
            lines = self.log(name).read_text(errors="replace").splitlines()[-LOG_LINES:]
            told.append("\n".join([f"== {name} ({'runs' if self.runs(name) else 'ended'})", *lines]))
        return "\n".join(told)

    def close(self) -> None:
        """Kill whatever is left."""
        for part in self.parts.values():
            for pid in [part.pid, *descendants(part.pid)] if part.poll() is None else []:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        super().close()

    def _launch(self, name: str, command: list[str], variables: dict[str, str]) -> None:
        self._ways[name] = (command, variables)
        self.parts[name] = self.start(*command, name=name, **variables)
