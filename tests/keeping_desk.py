"""Jobs whose images lie in the store for real, rendered by a worker that is played by the test, one chunk at a time.

Nothing is sent: chunks are cut, linked, issued and recorded by the parts that do it in a farm, without a broker.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from xxhash import xxh3_64_hexdigest

from dispatcher.planning.cutting import cut
from dispatcher.service.feeding.linking import link_existing
from dispatcher.service.lead import Leadership
from dispatcher.service.recording.noting import Notes
from dispatcher.service.recording.recorder import Recorder
from dispatcher.submission import submit
from spec_files import frozen
from storage.blobs import BlobStore, FolderStore
from storage.settings import Settings
from storage.spec import Job, ModelFacts, Numbers, digest
from storage.spec.named_code import named_by
from storage.spec.plan import Plan
from storage.spec_store import SpecStore
from storage.sql import Database, chunks, images, jobs
from storage.sql.chunks import ChunkRow, NewChunk
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow
from storage.states import ChunkState, JobState, Reuse
from storage.wire import keys
from storage.wire.messages import FailedImage, MadeImage, Manifest, ModelEntry

DAY_S = 86_400.0
MODEL = ModelEntry(digest="sha256:" + "a" * 64, family="Fake", width=64, height=64)
PLAN = Plan(device_type="cpu", dtype="float32", batch=4, threads=1, tf32=False)


class KeepingDesk:
    """One farm without a broker."""

    def __init__(self, database: Database, folder: Path, *, store: BlobStore | None = None) -> None:
        self.database = database
        self.folder = folder
        self.store = FolderStore(folder / "store") if store is None else store
        self.store.check()
        self.lead = Leadership(database)
        assert self.lead.seek()
        self.recorder = Recorder(database, self.store, fence=self.lead.fence)
        self.notes = Notes(database, self.store, fence=self.lead.fence)
        self.runs = 0
        self.digests: dict[str, str] = {}  # that models have now, where they are not MODEL's

    @classmethod
    def at_home(cls, home: Path) -> Self:
        """One that commands find by FARM_HOME, on SQLite."""
        home.mkdir()
        database = Database(f"sqlite:///{home / 'farm.sqlite'}")
        database.prepare()
        return cls(database, home)

    def submit(self, *, reuse: Reuse = Reuse.OFF, **entries: Any) -> str:
        """Submit a job and resolve its models; silent means 2 prompts and 8 seeds."""
        entries = {"axes": {"prompt": ["a", "b"], "seed": {"count": 8}}, **entries}
        settings, spec = Settings(home=self.folder), frozen(self.folder, **entries)
        row = submit(spec, settings=settings, database=self.database, store=self.store, source="x", new=True).row
        with self.database.write() as connection:
            jobs.change(connection, row.id, reuse=reuse)
            number = chunks.add(connection, NewChunk(job=row.id, kind="resolve", numbers=Numbers()))
            jobs.enter(connection, row.id, JobState.RESOLVING)
        self.render(self.issue(row.id, number))
        return row.id

    def cut(self, job_id: str, *, images: int = 4, plan: Plan = PLAN) -> ChunkRow | None:
        """Cut and issue the next chunk as a feeder does; None if nothing is left, or all of it was linked."""
        with self.database.write() as connection:
            row = jobs.get(connection, job_id)
            ready = chunks.in_state(connection, ChunkState.READY, job_id=job_id)
            number = ready[0].number if ready else None
            if number is None and row.state == JobState.RUNNING and row.cursor < row.positions:
                job = self.spec(row)
                part = cut(job, cursor=row.cursor, images=images, models=row.models or {})
                jobs.change(connection, job_id, cursor=part.cursor)
                plan_id = jobs.freeze_plan(connection, job_id, part.size, plan)
                left = link_existing(connection, row, job, part.numbers, plan_id=plan_id)
                if left:
                    new = NewChunk(job=job_id, kind="render", numbers=left, plan=plan_id, model=part.model)
                    number = chunks.add(connection, new)
        return None if number is None else self.issue(job_id, number)

    def issue(self, job_id: str, number: int, *, node: str = "n1") -> ChunkRow:
        """Give a ready chunk to a worker."""
        with self.database.write() as connection:
            chunk = chunks.get(connection, job_id, number)
            assert chunk is not None
            assert chunks.issue(connection, chunk, node=node, boot="b", now=time.time()) is not None
        return self.chunk(job_id, number)

    def render(self, chunk: ChunkRow, *, record: bool = True, **changes: Any) -> str:
        """Store a chunk's images, then its manifest; record it. Returns the manifest's key."""
        manifest = self.manifest(chunk, **changes)
        for made in manifest["images"]:
            data = f"picture {made['recipe_hash']}".encode()
            self.store.put(made["key"], data)
            made |= {"sha256": hashlib.sha256(data).hexdigest(), "pixel_sha256": "0" * 64}
            made |= {"bytes": len(data), "xxh3_64": xxh3_64_hexdigest(data)}
            if made["preview"] is not None:
                self.store.put(made["preview"], b"steps")
        key = keys.manifest_key(keys.run_prefix(chunk.job, chunk.number, chunk.attempt, manifest["run"]))
        self.store.put(key, json.dumps(manifest).encode())
        if record:
            assert self.recorder.record(key)
        return key

    def work(self, job_id: str, *, chunks: int = 1000, images: int = 4) -> None:
        """Let an honest worker do all there is of a job, or so many chunks of it."""
        while chunks > 0 and self.job(job_id).state == JobState.RUNNING:
            chunk = self.cut(job_id, images=images)
            if chunk is not None:
                self.render(chunk)
                chunks -= 1

    def rendered(self, **entries: Any) -> str:
        """A job that is done and noted."""
        job_id = self.submit(**entries)
        self.work(job_id)
        assert self.job(job_id).state == JobState.DONE
        self.notes.write()
        return job_id

    def manifest(self, chunk: ChunkRow, **changes: Any) -> dict[str, Any]:
        """What an honest worker would report of a chunk: every image made."""
        row = self.job(chunk.job)
        job = self.spec(row)
        self.runs += 1
        prefix = keys.run_prefix(chunk.job, chunk.number, chunk.attempt, f"run{self.runs}")
        left_out = {entry["number"] for entry in changes.get("failed", [])}
        left_out |= set(Numbers.from_json(changes.get("untried", [])))
        made = [_made(job, row.models or {}, number, prefix) for number in chunk.numbers if number not in left_out]
        honest = Manifest(
            job=chunk.job, chunk=chunk.number, attempt=chunk.attempt, run=f"run{self.runs}", node=chunk.node or "n1",
            boot="b", spec_hash=row.spec_hash, plan=chunk.plan, environment={"torch": "2"},
            models=self._models(job), images=made, started=time.time(), finished=time.time(),
            seconds={"total": 1.0, "load": 0.0},
        )  # fmt: skip
        return {**honest.model_dump(mode="json"), **changes}

    def _models(self, job: Job) -> dict[str, ModelEntry]:
        kinds = {key: named["kind"] for key, named in named_by(job.spec).items()}
        return {
            key: MODEL.model_copy(update={"kind": kind, "digest": self.digests.get(key, MODEL.digest)})
            for key, kind in kinds.items()
        }

    def spec(self, row: JobRow) -> Job:
        return SpecStore(self.store).load(row.id, spec_hash=row.spec_hash)

    def job(self, job_id: str) -> JobRow:
        with self.database.read() as connection:
            return jobs.get(connection, job_id)

    def chunk(self, job_id: str, number: int) -> ChunkRow:
        with self.database.read() as connection:
            chunk = chunks.get(connection, job_id, number)
        assert chunk is not None
        return chunk

    def images(self, job_id: str) -> dict[int, ImageRow]:
        with self.database.read() as connection:
            return {row.number: row for row in images.of_job(connection, job_id)}

    def stored(self, prefix: str = "") -> set[str]:
        """What lies in the store."""
        return {blob.key for blob in self.store.list(prefix)}

    def age(self, prefix: str = "", *, seconds: float = 2 * DAY_S) -> None:
        """Make what lies in a folder look older than it is."""
        assert isinstance(self.store, FolderStore)
        then = time.time() - seconds
        for blob in list(self.store.list(prefix)):
            os.utime(self.store.locate(blob.key), (then, then))


def failed(number: int, **changes: Any) -> dict[str, Any]:
    """A failed image of a manifest."""
    return {**FailedImage(number=number, reason="error", detail="x").model_dump(), **changes}


def _made(job: Job, models: Mapping[str, ModelFacts], number: int, prefix: str) -> MadeImage:
    place = job[number]
    assert place is not None
    recipe = job.recipe(place, models)
    return MadeImage(
        number=number, key=keys.image_key(prefix, number, "png"), sha256="", pixel_sha256="", bytes=0,
        width=recipe["width"], height=recipe["height"], recipe_hash=digest(recipe),
        preview=keys.preview_key(prefix, number) if job.spec.previews else None,
    )  # fmt: skip
