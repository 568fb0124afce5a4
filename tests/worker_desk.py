"""A dispatcher in a few lines, for tests of workers: it freezes a job, puts tokens and messages, reads manifests."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import redis
from kombu import Exchange, Queue, pools

from storage.blobs import FolderStore
from storage.spec import JobFile, Numbers, Spec, canonical, freeze
from storage.spec.plan import Plan
from storage.wire import keys
from storage.wire.celery_app import RENDER, make_app
from storage.wire.messages import ChunkMessage, Heartbeat, Manifest, ModelEntry, Orders

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
PLAN = Plan(device_type="cpu", dtype="float32", batch=4, threads=1, tf32=False)
ONE_BY_ONE = PLAN.model_copy(update={"batch": 1})
LIMIT_S = 60.0
SLOW_S = 0.05  # seconds a step


def wait_for(look: Callable[[], T | None], *, what: str, limit_s: float = LIMIT_S) -> T:
    """Look until there is something; fail by name."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: nothing within {limit_s} s")


class Desk:
    """One job on a folder store and a real broker."""

    def __init__(self, broker_url: str, folder: Path, *, job: str = "job1", store: Path | None = None) -> None:
        """Keep models in `folder`, and objects in `store` (silent: below it)."""
        self.broker_url = broker_url
        self.home = folder
        self.store = FolderStore(store or folder / "store")
        self.store.check()
        self.job = job
        self.redis = redis.Redis.from_url(broker_url)
        self.app = make_app(broker_url, role="dispatcher")
        self.spec: Spec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.redis.close()
        pools.reset()  # kombu shares them between apps of one broker

    def freeze(self, **entries: Any) -> Spec:
        """Freeze a job and put its spec into the store."""
        self.spec = freeze(JobFile.model_validate(entries), base=self.home, name="test", max_images=10**6)
        self.store.put(keys.spec_key(self.job, self.spec.hash), canonical(self.spec.to_json()))
        return self.spec

    def message(self, numbers: range | None = None, *, chunk: int = 1, **more: Any) -> ChunkMessage:
        """A message of the job: a resolve without numbers, else a render."""
        about = {"job": self.job, "chunk": chunk, "attempt": 1, "spec_hash": self.spec.hash}
        if numbers is None:
            return ChunkMessage(kind="resolve", **about)
        ranges = Numbers([numbers]).to_json()
        return ChunkMessage(kind="render", ranges=ranges, **about, **{"plan": PLAN, **more})

    def send(self, message: ChunkMessage, *, node: str, token: bool = True, priority: int = 0) -> None:
        """Publish a message to a worker that beats."""
        beat = self.beat(node)
        if token:
            self.redis.set(keys.token_key(message.job, message.chunk, message.attempt), 1, ex=600)
        name = keys.worker_queue(node, beat.boot)
        queue = Queue(name, Exchange(""), routing_key=name)
        body = {"message": message.model_dump(mode="json")}
        self.app.send_task(RENDER, kwargs=body, queue=queue, priority=priority, retry=False)

    def beat(self, node: str, *, other_than: str | None = None) -> Heartbeat:
        """The node's heartbeat, waited for; `other_than` is a child that does not count."""

        def look() -> Heartbeat | None:
            raw = self.redis.get(keys.worker_key(node))
            beat = Heartbeat.model_validate_json(raw) if raw else None
            return beat if beat and beat.child != other_than else None

        return wait_for(look, what=f"heartbeat of {node}")

    def running(self, node: str, *, limit_s: float = LIMIT_S) -> Heartbeat:
        """Wait until the node renders."""

        def look() -> Heartbeat | None:
            beat = self.beat(node)
            return beat if beat.holding and beat.holding.phase == "running" else None

        return wait_for(look, what=f"{node} renders", limit_s=limit_s)

    def order(self, node: str, **orders: Any) -> None:
        """Overwrite the node's orders."""
        self.redis.set(keys.orders_key(node), Orders(**orders).model_dump_json())

    def manifest(self, *, chunk: int = 1, limit_s: float = LIMIT_S) -> Manifest:
        """The manifest of a chunk, waited for."""
        prefix = keys.chunk_prefix(self.job, chunk, 1)

        def look() -> Manifest | None:
            found = [blob.key for blob in self.store.list(prefix) if blob.key.endswith("/manifest.json")]
            return Manifest.model_validate_json(self.store.get(found[0])) if found else None

        return wait_for(look, what=f"manifest of chunk {chunk}", limit_s=limit_s)

    def resolve(self, node: str) -> dict[str, ModelEntry]:
        """Have the worker look at the job's models, as chunk 0."""
        self.send(self.message(chunk=0), node=node)
        return self.manifest(chunk=0).models

    def environment(self, **settings: str) -> dict[str, str]:
        """What a worker of this farm is started with."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
        mine = {
            "FARM_HOME": str(self.home / "home"),
            "FARM_BROKER_URL": self.broker_url,
            "FARM_STORE_URL": str(self.home / "store"),
            "FARM_RENDERER": "fake",
            "FARM_BEAT_S": "0.1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        return {**clean, **mine, **settings}


def fake_model(folder: Path, name: str = "model", **entries: Any) -> Path:
    """A fake model in a folder."""
    (folder / name).mkdir()
    (folder / name / "fake.json").write_text(json.dumps(entries))
    return folder / name


def slow_job(desk: Desk) -> None:
    """A job of 1000 images that takes minutes."""
    fake_model(desk.home, seconds_per_step=SLOW_S)
    desk.freeze(model="model", prompt="a fox", steps=4, axes={"seed": {"count": 1000}})


def start_slow_chunk(desk: Desk, node: str) -> None:
    """Have the worker render the first 100 images of a slow job, one by one; wait until it is in the midst."""
    desk.send(desk.message(range(100), models=desk.resolve(node), plan=ONE_BY_ONE), node=node)
    wait_for(lambda: (held := desk.running(node).holding) and held.images >= 2, what="two images")


@contextmanager
def worker(desk: Desk, *options: str, name: str = "test", **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A `farm-worker start` of one CPU node called `<name>-cpu`; killed at the end, with all it started."""
    command = [sys.executable, "-m", "worker.cli", "start", "--devices", "cpu", "--name", name, *options]
    log = (desk.home / f"{name}.log").open("ab")
    process = subprocess.Popen(command, env=desk.environment(**settings), stdout=log, stderr=log, cwd=desk.home)
    try:
        yield process
    finally:
        kin = descendants(process.pid)
        for pid in [process.pid, *kin]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()
        log.close()


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, now."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found, edge = [], [pid]
    while edge:
        edge = [child for child, parent in parents.items() if parent in edge]
        found += edge
    return found


def gone(pids: list[int]) -> bool:
    """Whether none of them runs (a zombie does not)."""
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return False
        except OSError:
            continue
    return True
