"""From a manifest to rows: checked against what was issued, then written in one transaction.

The first manifest recorded for a chunk wins; what a later run of it stored is garbage. Whoever calls this (a `record`
message, the reconciler) may call it again: a chunk that is done stays done. What a run left undone goes on in new
chunks, those that ended it apart from the rest.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from dispatcher.planning.manifest import check_manifest
from dispatcher.planning.suspects import LAST_FAULT, Part, divide
from dispatcher.service.recording.describing import describe, image_rows, keeps_previews
from dispatcher.service.recording.outcomes import add_rows, checkpoint_of, go_on, nothing_made, outcome_of
from dispatcher.service.steps import end_job, finish_if_complete
from storage.blobs import BlobStore, is_key
from storage.errors import ManifestRefused, TransientError
from storage.spec import Job, Numbers
from storage.spec_store import SpecStore
from storage.sql import Database, chunks, events, jobs, plans, workers
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import JobRow
from storage.sql.tables import job as job_table
from storage.states import ChunkState, JobState, Wish
from storage.wire.keys import manifest_key, run_prefix
from storage.wire.messages import Manifest

__all__ = ["Recorder", "describe", "end_job", "finish_if_complete", "image_rows"]

log = logging.getLogger(__name__)
_LARGEST = 64 * 2**20  # bytes of a manifest; 4096 images need 4 MB
PACE_MEMORY = 0.5  # weight of the newest chunk in a job's seconds per image


def _nobody() -> frozenset[str]:
    return frozenset()


class Recorder:
    """Writes what workers report. `fence` opens every transaction: it raises where we do not lead any more."""

    def __init__(
        self, database: Database, store: BlobStore, *, fence: Callable[[Connection], None],
        live: Callable[[], frozenset[str]] = _nobody, scale: float = 1.0,
    ) -> None:  # fmt: skip
        """Keep what it works with.

        Args:
            database: Where rows go.
            store: Where manifests lie.
            fence: Opens every transaction.
            live: The nodes that are alive now, as last heard.
            scale: Multiplies how long a worker rests.
        """
        self._database = database
        self._store = store
        self._specs = SpecStore(store)
        self._fence = fence
        self._live = live
        self._scale = scale

    def record(self, key: str) -> bool:
        """Record one manifest. Returns False if its chunk was final already.

        Raises:
            ManifestRefused: It breaks the contract; nothing was written but an event.
            BlobMissing: There is no such manifest.
            StoreAway: The store does not answer.
            DatabaseAway: SQL does not answer.
        """
        try:
            return self._record(key)
        except ManifestRefused as error:
            self._note_refusal(key, str(error))
            raise

    def give_up(self, chunk: ChunkRow, *, reason: str, detail: str) -> bool:
        """Fail all images of a chunk; the rest of its job goes on. Returns False if it was final already.

        Raises:
            PermanentError: The job's spec is gone.
            TransientError: Nothing was written.
        """
        job = self._load(chunk)
        with self._database.write() as connection:
            self._fence(connection)
            if not chunks.finish(connection, chunk, outcome=f"given up: {reason}", now=time.time()):
                return False
            said = nothing_made(chunk, reason=reason, details=dict.fromkeys(chunk.numbers, detail))
            add_rows(connection, said, chunk=chunk, job=job)
            events.add(connection, chunk.job, "given up", f"chunk {chunk.number}: {reason}: {detail}")
            return True

    def accuse(self, chunk: ChunkRow, *, suspects: Numbers | None, reason: str, loss: str) -> bool:
        """A run ended by its own fault and left no manifest: divide its images; one that stands alone fails at last.

        Args:
            chunk: Issued.
            suspects: Images that were in the pipeline; None: nobody knows.
            reason: That an image fails with: "crash" or "hung".
            loss: In words.

        Returns:
            False if it is not issued with that attempt any more.

        Raises:
            PermanentError: The job's spec is gone.
            TransientError: Nothing was written.
        """
        parts = divide(chunk.numbers, suspects=suspects, faults=chunk.faults) if chunk.numbers else []
        job = self._load(chunk) if any(part.failed for part in parts) else None
        with self._database.write() as connection:
            self._fence(connection)
            row, now = jobs.get(connection, chunk.job), time.time()
            if not row.is_open:
                return chunks.drop(connection, chunk, why=str(row.state), now=now)
            hopeless = not parts and chunk.faults + 1 >= LAST_FAULT
            if hopeless or job is not None or len(parts) > 1:
                changed = chunks.drop(connection, chunk, why=f"divided: {loss}" if parts else loss, now=now)
            else:
                changed = chunks.offer_again(connection, chunk, why=loss, now=now, blame=True)
            if changed:
                workers.note_failure(connection, chunk.node or "", checkpoint_of(row, chunk), now, self._scale)
                if hopeless:
                    end_job(connection, row.id, JobState.FAILED, reason=_unreadable(chunk, said=loss), now=now)
                elif job is not None or len(parts) > 1:
                    go_on(connection, chunk, parts, reason=reason, node=chunk.node or "", job=job)
            return changed

    def _record(self, key: str) -> bool:
        manifest = self._read(key)
        with self._database.read() as connection:
            chunk = chunks.get(connection, manifest.job, manifest.chunk)
            if chunk is None:
                raise ManifestRefused(key, "no such chunk")
            row = jobs.get(connection, manifest.job)
        if chunk.state in (ChunkState.DONE, ChunkState.DROPPED):
            return False
        spec_hash = manifest.spec_hash if manifest.spec_hash in row.specs else row.spec_hash
        job = self._specs.load(manifest.job, spec_hash=spec_hash)
        check_manifest(manifest, key=key, job=job, job_row=row, chunk=chunk)
        with self._database.write() as connection:
            self._fence(connection)
            recorded = self._write(connection, manifest, key=key, chunk=chunk, job=job)
        if recorded:
            self._drop_previews(manifest, job)
            log.info("chunk recorded", extra=_fields(manifest))
        return recorded

    def _read(self, key: str) -> Manifest:
        try:
            if not is_key(key):
                raise ManifestRefused(key, "is no key of a store")
            there = self._store.head(key)
            if there is not None and there.size > _LARGEST:
                raise ManifestRefused(key, f"has {there.size} bytes, and a manifest at most {_LARGEST}")
            manifest = Manifest.model_validate_json(self._store.get(key))
        except ValidationError as error:
            raise ManifestRefused(key, str(error.errors(include_url=False)[0]["msg"])) from None
        prefix = run_prefix(manifest.job, manifest.chunk, manifest.attempt, manifest.run)
        if key != manifest_key(prefix):
            raise ManifestRefused(key, f"names the run {prefix}")
        return manifest

    def _note_refusal(self, key: str, why: str) -> None:
        """Tell the job whose folder it lay in, once."""
        folder, _, rest = key.partition("/")
        if folder != "jobs" or not is_key(key):
            return
        try:
            with self._database.write() as connection:
                self._fence(connection)
                if jobs.exists(connection, rest.partition("/")[0]):
                    events.add_once(connection, rest.partition("/")[0], "manifest refused", why)
        except TransientError as error:
            log.warning("refusal not noted", extra={"key": key, "why": str(error)})

    def _load(self, chunk: ChunkRow) -> Job:
        with self._database.read() as connection:
            row = jobs.get(connection, chunk.job)
        return self._specs.load(chunk.job, spec_hash=row.spec_hash)

    def _write(self, connection: Connection, manifest: Manifest, *, key: str, chunk: ChunkRow, job: Job) -> bool:
        now, row = time.time(), jobs.get(connection, manifest.job)
        if manifest.fatal is not None:
            changed = chunks.drop(connection, chunk, why=f"fatal: {manifest.fatal}", now=now)
        elif row.state == JobState.CANCELLED and row.wish == Wish.DROP:
            return chunks.drop(connection, chunk, why="unwanted", now=now)
        else:
            changed = chunks.finish(connection, chunk, outcome=outcome_of(manifest), now=now, manifest=key)
        if changed:
            spent = job_table.c.device_seconds + max(0.0, manifest.seconds.get("total", 0.0))
            jobs.change(connection, row.id, device_seconds=spent)
            self._judge_worker(connection, manifest, chunk=chunk, row=row)
            if manifest.fatal is not None:
                self._end_or_pass_on(connection, manifest, chunk=chunk, row=row)
            elif chunk.kind == "resolve":
                self._resolve(connection, manifest, chunk=chunk, row=row)
            else:
                self._render(connection, manifest, chunk=chunk, row=row, job=job)
        return changed

    def _judge_worker(self, connection: Connection, manifest: Manifest, *, chunk: ChunkRow, row: JobRow) -> None:
        broke = manifest.fault is not None and manifest.fault.reason == "device_error"
        lacks = manifest.fatal_here and chunk.kind != "resolve"  # what one job names says nothing of the next one
        if lacks or broke or (manifest.failed and not manifest.images):
            workers.note_failure(connection, manifest.node, checkpoint_of(row, chunk), time.time(), self._scale)
        elif manifest.images:
            workers.note_success(connection, manifest.node, checkpoint_of(row, chunk))

    def _end_or_pass_on(self, connection: Connection, manifest: Manifest, *, chunk: ChunkRow, row: JobRow) -> None:
        """What nobody can render fails the job; what one host cannot goes to another one."""
        assert manifest.fatal is not None
        avoid, live = chunk.avoid | {manifest.node}, self._live()
        if not manifest.fatal_here or manifest.node in chunk.avoid or (live and live <= avoid):
            end_job(connection, row.id, JobState.FAILED, reason=manifest.fatal, now=time.time())
            return
        plans.release(connection, chunk)
        part = Part(numbers=chunk.numbers, faults=chunk.faults, accused=True)
        go_on(connection, chunk, [part], reason="error", node=manifest.node)
        events.add(connection, row.id, "passed on", f"chunk {chunk.number}, {manifest.node}: {manifest.fatal}")

    def _resolve(self, connection: Connection, manifest: Manifest, *, chunk: ChunkRow, row: JobRow) -> None:
        if manifest.fault is not None:
            part = Part(numbers=chunk.numbers, faults=chunk.faults + 1, accused=True)
            if part.faults >= LAST_FAULT:
                reason = _unreadable(chunk, said=manifest.fault.detail)
                end_job(connection, row.id, JobState.FAILED, reason=reason, now=time.time())
            go_on(connection, chunk, [part], reason=manifest.fault.reason, node=manifest.node)
            return
        now, digests = time.time(), {name: facts.digest for name, facts in (row.models or {}).items()}
        changed = [name for name, entry in manifest.models.items() if digests.get(name, entry.digest) != entry.digest]
        if changed and row.done:  # it is tried once more, and its first images would have no equals
            reason = f"model {changed[0]!r} has other bytes than when the job began; submit it again with --new"
            end_job(connection, row.id, JobState.FAILED, reason=reason, now=now)
            return
        models = {name: entry.model_dump() for name, entry in manifest.models.items()}
        jobs.enter(connection, row.id, JobState.RUNNING, before=[JobState.RESOLVING], models=models, started_at=now)
        finish_if_complete(connection, row.id, now=now)

    def _render(self, connection: Connection, manifest: Manifest, *, chunk: ChunkRow, row: JobRow, job: Job) -> None:
        untried, fault = Numbers.from_json(manifest.untried), manifest.fault
        parts = [Part(numbers=untried, faults=chunk.faults, accused=False)] if untried else []
        if fault is not None:
            events.add(connection, row.id, fault.reason, f"chunk {chunk.number} on {manifest.node}: {fault.detail}")
        if fault is not None and fault.reason == "out_of_memory":
            self._note_limit(connection, manifest, chunk=chunk, row=row, job=job)
        elif fault is not None and untried:
            parts = divide(untried, suspects=Numbers.from_json(fault.ranges), faults=chunk.faults)
        add_rows(connection, manifest, chunk=chunk, job=job)
        reason = "error" if fault is None else fault.reason
        go_on(connection, chunk, parts, reason=reason, node=manifest.node, job=job)
        jobs.change(connection, row.id, seconds_per_image=_pace(manifest, before=row.seconds_per_image))

    def _note_limit(
        self, connection: Connection, manifest: Manifest, *, chunk: ChunkRow, row: JobRow, job: Job
    ) -> None:
        place = job[next(iter(chunk.numbers))]
        assert manifest.fault is not None
        assert place is not None
        assert chunk.plan_id is not None
        recipe = job.recipe(place, row.models or {})
        workers.note_limit(
            connection, device=manifest.device, plan_id=chunk.plan_id, model=checkpoint_of(row, chunk),
            size=(recipe["width"], recipe["height"]), detail=manifest.fault.detail, now=time.time(),
        )  # fmt: skip

    def _drop_previews(self, manifest: Manifest, job: Job) -> None:
        if job.spec.previews is not None and not keeps_previews(job):
            self._store.delete([made.preview for made in manifest.images if made.preview is not None])


def _unreadable(chunk: ChunkRow, *, said: str) -> str:
    return (
        f"reading its models broke {LAST_FAULT} workers, the last one on {chunk.node}: {said};"
        f" see 'farm logs {chunk.job}', then 'farm retry {chunk.job}'"
    )


def _pace(manifest: Manifest, *, before: float | None) -> float | None:
    tried = len(manifest.images) + len(manifest.failed)
    if not tried or "total" not in manifest.seconds:
        return before
    lately = max(1e-4, (manifest.seconds["total"] - manifest.seconds.get("load", 0.0)) / tried)
    return lately if before is None else (1 - PACE_MEMORY) * before + PACE_MEMORY * lately


def _fields(manifest: Manifest) -> dict[str, Any]:
    return {
        "job": manifest.job, "chunk": manifest.chunk, "attempt": manifest.attempt, "worker": manifest.node,
        "images": len(manifest.images), "failed": len(manifest.failed), "seconds": manifest.seconds.get("total"),
    }  # fmt: skip
