"""One farm of real processes between taps: dispatchers, workers, a broker, SQL and a store, each of which may fail.

It speaks to the servers past the taps, so that it sees what is there while the farm does not.
"""

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import redis
from sqlalchemy import select

from farm_desk import FARM, is_alive, wait_until
from faults.http_tap import HttpTap
from faults.parts import Servers
from faults.taps import Tap
from faults.works import Works
from servers.valkey import DATABASES
from storage.blobs import BlobStore, open_store
from storage.errors import DatabaseAway, UnknownName
from storage.sql import Database, chunks, images, jobs
from storage.sql.chunks import ChunkRow
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow
from storage.sql.tables import leader
from storage.wire import keys
from storage.wire.messages import Heartbeat, Holding

TESTS = Path(__file__).resolve().parents[1]
SIDE = 32  # pixels of a picture
SEEDS = 1000
_numbers = itertools.cycle(range(1, DATABASES))


class Farm(Works):
    """A farm under fault. Parts have names: d1, d2 (dispatchers), w1, w2, ... (workers)."""

    def __init__(
        self, folder: Path, servers: Servers, *, scale: float = 0.1, model: Mapping[str, Any] | None = None,
        seed: int = 0, **variables: str,
    ) -> None:  # fmt: skip
        super().__init__(folder, **(timers(scale) | {"FARM_UNREGISTERED_MODELS": "yes"} | variables))
        self.set_model(**(model or {}))
        self.servers = servers
        self.broker_tap = Tap(servers.valkey.port)
        self.sql_tap: Tap | None = None
        self.store_tap: HttpTap | None = None
        self.broker_url = servers.valkey.database(next(_numbers))
        self.redis = redis.Redis.from_url(self.broker_url)
        self.redis.flushdb()
        self.env |= {"FARM_BROKER_URL": _through(self.broker_url, self.broker_tap)}
        self.env |= {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), "OMP_NUM_THREADS": "1"}
        self._direct = dict(self.env)
        self._set_database()
        self._set_store(seed)
        self.database = Database(self._direct.get("FARM_DATABASE_URL", f"sqlite:///{self.home / 'farm.sqlite'}"))
        self.home.mkdir(exist_ok=True)
        self.database.prepare()
        self.store.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_model(self, **facts: Any) -> None:
        """Rewrite the fake model: seconds_per_step, kill_seeds, fail_seeds."""
        (self.folder / "model" / "fake.json").write_text(json.dumps({"width": SIDE, "height": SIDE, **facts}))

    def mend(self) -> None:
        """Heal the taps, and start again whatever server or part an earlier fault left ended."""
        for tap in (self.broker_tap, self.sql_tap, self.store_tap):
            if tap is not None:
                tap.heal()
        if not self.servers.valkey.running:
            self.servers.valkey.start()
        if self.servers.postgres is not None and not self.servers.postgres.running:
            self.servers.postgres.restart()
        for name in self.parts:
            self.again(name)
        for name in self.parts:
            if name.startswith("w"):
                before = self.beat(name)
                self.wait(partial(self._beats_anew, name, before), what=f"{name} beats")

    def close(self) -> None:
        """Kill whatever is left, and end the taps."""
        super().close()
        for tap in (self.broker_tap, self.sql_tap, self.store_tap):
            if tap is not None:
                tap.close()
        self.redis.close()
        self.database.close()

    # Jobs.

    def submit(self, name: str, *, images: int, batch: int = 4, steps: int = 2, **changes: Any) -> str:
        """Submit a job of so many images, up to a thousand of one prompt, past the taps; return its id."""
        seeds = min(images, SEEDS)
        prompts = [f"a fox, {number}" for number in range(images // seeds)]
        axes = {"prompt": prompts, "seed": {"start": 0, "count": seeds}}
        file = self.write_job(**{"name": name, "axes": axes, "steps": steps, "plan": {"batch": batch}} | changes)
        asked = subprocess.run(
            [*FARM, "submit", str(file), "--new"], cwd=self.folder, env=self._direct, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert asked.returncode == 0, asked.stdout + asked.stderr
        return self.job(name).id

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `farm` command past the taps, to its end."""
        return subprocess.run(
            [*FARM, *arguments], cwd=self.folder, env=self._direct, capture_output=True, text=True, check=False
        )

    def job(self, name: str = "@last") -> JobRow:
        """The row of a job."""
        with self.database.read() as connection:
            return jobs.find(connection, name)

    def images(self, name: str = "@last") -> dict[int, ImageRow]:
        """The image rows of a job by number."""
        with self.database.read() as connection:
            return {row.number: row for row in images.of_job(connection, jobs.find(connection, name).id)}

    def done(self, name: str = "@last") -> int:
        """Images recorded so far; 0 while SQL is away."""
        try:
            row = self.job(name)
        except (DatabaseAway, UnknownName):
            return 0
        return row.done + row.failed

    def wait(self, condition: Callable[[], object], *, what: str, timeout_s: float = 90) -> None:
        """Wait for a condition; what the parts said last goes into the failure."""
        try:
            wait_until(condition, what=what, timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.words()}") from None

    def wait_done(self, name: str = "@last", *, timeout_s: float = 90) -> None:
        """Wait until a job is at its end."""
        self.wait(lambda: self._settled(name), what=f"the end of job {name}", timeout_s=timeout_s)

    def _settled(self, name: str) -> bool:
        try:
            return not self.job(name).is_open
        except DatabaseAway:
            return False

    def chunks(self, name: str = "@last") -> list[ChunkRow]:
        """The chunk rows of a job."""
        with self.database.read() as connection:
            row = jobs.find(connection, name)
            found = [chunks.get(connection, row.id, number) for number in range(row.chunks + 1)]
        return [chunk for chunk in found if chunk is not None]

    def begin(self, name: str, *workers: str, **job: Any) -> str:
        """Submit a job and wait until these workers are in the midst of it; return its id."""
        for worker in workers or ("w1",):  # else the others might be through before a late one is there
            self.wait(partial(self.beat, worker), what=f"{worker} beats")
        found = self.submit(name, **{"images": 60, "steps": 4} | job)
        for worker in workers or ("w1",):
            self.wait(partial(self.renders, worker), what=f"{worker} renders")
        self.wait(lambda: self.done(name) >= 4, what="the first images")
        return found

    # What is there, past the taps.

    def beat(self, worker: str) -> Heartbeat | None:
        """The last heartbeat of a worker."""
        try:
            raw = self.redis.get(keys.worker_key(node(worker)))
            return Heartbeat.model_validate_json(raw) if isinstance(raw, bytes) else None
        except (redis.RedisError, ValueError):
            return None

    def _beats_anew(self, worker: str, before: Heartbeat | None) -> bool:
        return self.beat(worker) not in (None, before)

    def renders(self, worker: str) -> bool:
        """Whether a worker says that it is in the midst of a chunk."""
        beat = self.beat(worker)
        return beat is not None and beat.holding is not None and beat.holding.phase == "running"

    def held(self, worker: str) -> Holding:
        """What a worker has in its hands, waited for."""
        found: list[Holding] = []

        def look() -> bool:
            beat = self.beat(worker)
            found.extend([beat.holding] if beat and beat.holding and beat.holding.phase == "running" else [])
            return bool(found)

        self.wait(look, what=f"{worker} holds a chunk")
        return found[0]

    def leader(self) -> str | None:
        """The name of the dispatcher that leads."""
        with suppress(DatabaseAway), self.database.read() as connection:
            holder = connection.execute(select(leader.c.holder)).scalar() or ""
            pids = {str(part.pid): name for name, part in self.parts.items() if part.poll() is None}
            return pids.get(holder.split(":")[1]) if holder.count(":") == 2 else None
        return None

    @cached_property
    def store(self) -> BlobStore:
        """The store, past its tap."""
        where = self._direct.get("FARM_STORE_URL", str(self.home / "store"))
        return open_store(where, endpoint=self._direct.get("FARM_S3_ENDPOINT"))

    def _set_database(self) -> None:
        if self.servers.postgres is not None:
            url = self.servers.postgres.url(self.servers.postgres.create_database())
            self.sql_tap = Tap(self.servers.postgres.port)
            self._direct["FARM_DATABASE_URL"] = url
            self.env["FARM_DATABASE_URL"] = _through(url, self.sql_tap)

    def _set_store(self, seed: int) -> None:
        if self.servers.s3 is not None:
            bucket = self.servers.s3.create_bucket()
            self.store_tap = HttpTap(urlsplit(bucket.endpoint).port or 80, seed=seed)
            shared = {"FARM_STORE_URL": bucket.url, **self.servers.s3.environment}
            self._direct |= shared | {"FARM_S3_ENDPOINT": bucket.endpoint}
            self.env |= shared | {"FARM_S3_ENDPOINT": f"http://127.0.0.1:{self.store_tap.port}"}


def timers(scale: float) -> dict[str, str]:
    """The settings of a farm whose every waiting time is `scale` of the default, with beats to match."""
    return {"FARM_TIME_SCALE": str(scale), "FARM_BEAT_S": str(round(scale**0.5, 3))}


def node(worker: str) -> str:
    """The name of the one node of a worker."""
    return f"{worker}-cpu"


def until_gone(pids: list[int], *, timeout_s: float = 10) -> None:
    """Wait until the kernel has let go of processes."""
    deadline = time.monotonic() + timeout_s
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)


def _through(url: str, tap: Tap) -> str:
    port = urlsplit(url).port
    return url.replace(f":{port}/", f":{tap.port}/")
