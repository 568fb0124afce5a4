"""A dispatcher's parts around real SQL, a real store and a real broker, with a worker that is played by the test."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from dispatcher.planning.sessions import Sessions
from dispatcher.quality.judging import Judge
from dispatcher.service.broker import Broker
from dispatcher.service.feeding.feeder import Feeder
from dispatcher.service.lead import Leadership
from dispatcher.service.reconciler import Reconciler
from dispatcher.service.recording.recorder import Recorder
from dispatcher.service.wishes import Wishes
from dispatcher.submission import submit
from spec_files import frozen
from storage.blobs import FolderStore
from storage.settings import Settings
from storage.spec import Job, ModelFacts, Numbers, digest
from storage.spec_store import SpecStore
from storage.sql import Database, chunks, events, images, jobs
from storage.sql.chunks import ChunkRow
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow
from storage.states import ChunkState, Wish
from storage.wire import keys
from storage.wire.messages import FailedImage, Heartbeat, Holding, MadeImage, Manifest, ModelEntry

MODEL = ModelEntry(digest="sha256:" + "a" * 64, family="Fake", width=64, height=64)
SILENCE_S = 30.0


def entry_of(kind: str) -> ModelEntry:
    """What a worker would find out about a model of that kind."""
    return MODEL if kind == "checkpoint" else ModelEntry(kind=kind, digest=f"sha256:{kind}", family="other")


class DispatcherDesk:
    """One job on one farm; `now` is the dispatcher's clock, moved by the test."""

    def __init__(self, database: Database, folder: Path, broker_url: str, *, stop_after_failures: int = 1000) -> None:
        self.database = database
        self.folder = folder
        self.store = FolderStore(folder / "store")
        self.store.check()
        self.redis = redis.Redis.from_url(broker_url)
        self.broker = Broker(broker_url)
        self.lead = Leadership(database)
        assert self.lead.seek()
        self.live = frozenset({"n1"})
        self.recorder = Recorder(database, self.store, fence=self.lead.fence, live=lambda: self.live)
        self.reconciler = Reconciler(database, self.store, self.broker, self.recorder)
        self.wishes = Wishes(
            database, self.broker, fence=self.lead.fence, stop_after_failures=stop_after_failures, chunk_s=60
        )
        self.feeder = Feeder(database, self.broker, SpecStore(self.store), chunk_s=60, give_up=self.recorder.give_up)
        self.judge = Judge(database, SpecStore(self.store), fence=self.lead.fence, chunk_s=60)
        self.sessions = Sessions(silence_s=SILENCE_S, idle_loss_s=10)
        self.now = 1000.0
        self.beats = 0
        self.runs = 0

    def submit(self, **entries: Any) -> str:
        """Submit a job; silent means 2 prompts and 8 seeds in batches of 4."""
        entries = {"axes": {"prompt": ["a", "b"], "seed": {"count": 8}}, "plan": {"batch": 4}, **entries}
        settings = Settings(home=self.folder)
        spec = frozen(self.folder, **entries)
        return submit(spec, settings=settings, database=self.database, store=self.store, source="x", new=True).row.id

    def beat(
        self, node: str = "n1", *, holding: ChunkRow | None = None, batch: Sequence[int] = (), boot: str = "b",
        child: str = "c", **more: Any,
    ) -> Heartbeat:  # fmt: skip
        """What a worker would say now."""
        self.beats += 1
        held = None
        if holding is not None:
            names = {"job": holding.job, "chunk": holding.number, "attempt": holding.attempt}
            held = Holding(**names, run="r", phase="running", batch=Numbers.of(batch).to_json())
        return Heartbeat(
            node=node, boot=boot, child=child, beat=self.beats, device_type="cpu", device="cpu", threads=1,
            memory_bytes=0, renderer="fake", holding=held, **more,
        )  # fmt: skip

    def ended(self, chunk: ChunkRow, batch: Sequence[int], *, cause: str = "died", child: str = "new") -> Heartbeat:
        """What a worker says whose child died with a chunk in its hands, as the next child found it written."""
        names = {"job": chunk.job, "chunk": chunk.number, "attempt": chunk.attempt}
        told = {**names, "batch": Numbers.of(batch).to_json(), "cause": cause}
        return self.beat(chunk.node or "n1", boot=chunk.boot or "b", child=child, ended=told)

    def feed(self, *workers: Heartbeat) -> int:
        return self.feeder.feed(workers or [self.beat()], fence=self.lead.fence)

    def hear(self, *beats: Heartbeat, after: float = 0.0) -> None:
        self.now += after
        self.sessions.hear(beats, now=self.now)

    def take_back(self, *, forgot: bool = False) -> None:
        self.reconciler.take_back(self.sessions, fence=self.lead.fence, now=self.now, forgot=forgot)

    def wish(self, job_id: str, wanted: Wish = Wish.RUN, **columns: Any) -> list[str]:
        """Wish something as the commands do, and let a round pass. Returns the jobs that workers must let go of."""
        with self.database.write() as connection:
            jobs.change(connection, job_id, wish=wanted, **columns)
        return self.wishes.fulfil().jobs

    def cancel(self, job_id: str) -> list[str]:
        return self.wish(job_id, Wish.CANCEL)

    def run_all(self) -> None:
        """The worker takes the tokens of all that is issued, as if it began."""
        for chunk in self.chunks():
            self.redis.delete(keys.token_key(chunk.job, chunk.number, chunk.attempt))

    def events(self, job_id: str) -> dict[str, str]:
        """What happened to a job: what -> the last detail."""
        with self.database.read() as connection:
            return {event.what: event.detail for event in events.of_job(connection, job_id)}

    def job(self, job_id: str) -> JobRow:
        with self.database.read() as connection:
            return jobs.get(connection, job_id)

    def images(self, job_id: str) -> dict[int, ImageRow]:
        with self.database.read() as connection:
            return {row.number: row for row in images.of_job(connection, job_id)}

    def chunks(self, state: ChunkState = ChunkState.ISSUED) -> list[ChunkRow]:
        with self.database.read() as connection:
            return chunks.in_state(connection, state)

    def issued(self) -> ChunkRow:
        (chunk,) = self.chunks()
        return chunk

    def started(self, **entries: Any) -> tuple[str, ChunkRow]:
        """A job whose models are resolved, and its first chunk, issued to n1."""
        job_id = self.submit(**entries)
        assert self.feed() == 1
        assert self.recorder.record(self.put(self.manifest(self.issued())))
        assert self.feed() >= 1
        return job_id, self.chunks()[0]

    def manifest(self, chunk: ChunkRow, **changes: Any) -> dict[str, Any]:
        """What an honest worker would report of a chunk: every image made."""
        row = self.job(chunk.job)
        job = SpecStore(self.store).load(chunk.job, spec_hash=row.spec_hash)
        self.runs += 1
        run = f"run{self.runs}"
        prefix = keys.run_prefix(chunk.job, chunk.number, chunk.attempt, run)
        left_out = {entry["number"] for entry in changes.get("failed", [])}
        left_out |= set(Numbers.from_json(changes.get("untried", [])))
        made = [self._made(job, row.models or {}, number, prefix) for number in chunk.numbers if number not in left_out]
        honest = Manifest(
            job=chunk.job, chunk=chunk.number, attempt=chunk.attempt, run=run, node=chunk.node or "n1", boot="b",
            spec_hash=row.spec_hash, plan=chunk.plan, environment={"torch": "2"},
            models={key: entry_of(model["kind"]) for key, model in job.spec.models.items()}, images=made,
            started=time.time(), finished=time.time(),
            seconds={"total": 1.0, "load": 0.0},
        )  # fmt: skip
        return {**honest.model_dump(mode="json"), **changes}

    def _made(self, job: Job, models: Mapping[str, ModelFacts], number: int, prefix: str) -> MadeImage:
        place = job[number]
        assert place is not None
        key, recipe = keys.image_key(prefix, number, "png"), job.recipe(place, models)
        return MadeImage(
            number=number, key=key, sha256="0" * 64, pixel_sha256="0" * 64, bytes=1,
            width=recipe["width"], height=recipe["height"],
            recipe_hash=digest(recipe),
        )  # fmt: skip

    def put(self, manifest: dict[str, Any], *, key: str | None = None) -> str:
        """Store a manifest where its run belongs. Returns its key."""
        import json

        prefix = keys.run_prefix(manifest["job"], manifest["chunk"], manifest["attempt"], manifest["run"])
        key = key or keys.manifest_key(prefix)
        self.store.put(key, json.dumps(manifest).encode())
        return key

    def finish(self, limit: int = 50) -> None:
        """Let an honest worker do all there is."""
        for _ in range(limit):
            self.feed()
            work = self.chunks()
            if not work:
                return
            for chunk in work:
                self.recorder.record(self.put(self.manifest(chunk)))
        raise AssertionError("the work never ends")


def failed(number: int, **changes: Any) -> dict[str, Any]:
    """A failed image of a manifest."""
    return {**FailedImage(number=number, reason="error", detail="x").model_dump(), **changes}


MakeDesk = Callable[..., DispatcherDesk]


@contextmanager
def leading_desk(folder: Path, broker_url: str) -> Iterator[DispatcherDesk]:
    """A desk on a new SQLite database whose dispatcher keeps the lead."""
    database = Database(f"sqlite:///{folder / 'farm.sqlite'}")
    database.prepare()
    desk = DispatcherDesk(database, folder, broker_url)
    ended = threading.Event()
    rounds = threading.Thread(target=lambda: [desk.lead.seek() for _ in iter(lambda: ended.wait(0.05), True)])
    rounds.start()
    try:
        yield desk
    finally:
        ended.set()
        rounds.join()
