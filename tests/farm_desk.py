"""A farm of real processes for the tests: the commands as a user types them, and what they left behind."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import yaml
from sqlalchemy.exc import SQLAlchemyError
from xxhash import xxh3_64_hexdigest

from storage.blobs import open_store
from storage.errors import FarmError
from storage.sql import Database, images, jobs
from storage.sql.images import ImageRow

FARM = [sys.executable, "-m", "dispatcher.cli"]
DEADLINE_S = 90.0


class Desk:
    """One FARM_HOME, one folder to work in, one fake model."""

    def __init__(self, folder: Path, *, seconds_per_step: float = 0.0, **variables: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "model" / "fake.json").write_text(
            f'{{"width": 32, "height": 32, "seconds_per_step": {seconds_per_step}}}'
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
        self.env = clean | {"FARM_HOME": str(self.home), "FARM_RENDERER": "fake", **variables}
        self._started: list[subprocess.Popen[str]] = []

    def write_job(self, **changes: object) -> Path:
        """A job file of 3 prompts x 8 seeds x 2 schedulers in 12 batches, with changes."""
        job = {
            "name": "desk", "model": "model", "steps": 4, "plan": {"batch": 4},
            "axes": {
                "prompt": ["a fox", "two foxes\nand a 🦊", "three"], "seed": {"derive": 8},
                "scheduler": ["ddim", "euler_a"],
            },
        }  # fmt: skip
        file = self.folder / "job.yaml"
        file.write_text(yaml.safe_dump(job | changes, allow_unicode=True))
        return file

    def farm(self, *arguments: str, timeout_s: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*FARM, *arguments], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=timeout_s,
            check=False,
        )  # fmt: skip

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command and leave it running; `close` ends it."""
        process = subprocess.Popen(
            list(command), cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def start_farm(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a farm command and leave it running."""
        return self.start(*FARM, *arguments)

    def start_workers(self, *arguments: str) -> subprocess.Popen[str]:
        """Start workers and leave them running."""
        return self.start(sys.executable, "-m", "worker.cli", "start", *arguments)

    def close(self) -> None:
        """End what was started, kindly, then by force; and whatever an embedded farm left behind."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for pid in [self.part_pid(lock.stem) for lock in (self.home / "parts").glob("*.lock")]:
            if pid is not None and str(self.home) in _environment(pid):
                with suppress(ProcessLookupError):  # it may end by itself just now
                    os.killpg(pid, signal.SIGKILL)

    def images(self, name: str = "@last") -> dict[int, ImageRow]:
        """The rows of a job by number."""
        database = Database(self.env.get("FARM_DATABASE_URL", f"sqlite:///{self.home / 'farm.sqlite'}"))
        try:
            with database.read() as connection:
                return {row.number: row for row in images.of_job(connection, jobs.find(connection, name).id)}
        finally:
            database.close()

    def check_objects(self, rows: Mapping[int, ImageRow]) -> None:
        """Every row's object is there and has the recorded hash, size and checksum."""
        store = open_store(
            self.env.get("FARM_STORE_URL", str(self.home / "store")), endpoint=self.env.get("FARM_S3_ENDPOINT")
        )
        for row in rows.values():
            assert row.key is not None
            data = store.get(row.key)
            assert hashlib.sha256(data).hexdigest() == row.sha256
            assert (len(data), xxh3_64_hexdigest(data)) == (row.bytes, row.xxh3_64)

    def done(self) -> int:
        """Images recorded so far; 0 while there is no job."""
        try:
            return len(self.images())
        except (FarmError, SQLAlchemyError):  # no tables yet, or no job
            return 0

    def part_pid(self, name: str) -> int | None:
        """The process of a part of the embedded farm."""
        try:
            return int((self.home / "parts" / f"{name}.lock").read_text())
        except (OSError, ValueError):
            return None


def wait_until(condition: Callable[[], object], *, what: str, timeout_s: float = DEADLINE_S) -> None:
    """Poll until a condition holds; fail with `what` otherwise."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """All processes below one, the youngest last."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, todo = [], [pid]
    while todo:
        children = [child for child, parent in parents.items() if parent == todo[0]]
        todo = todo[1:] + children
        found += children
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""
