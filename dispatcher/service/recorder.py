"""From a manifest to rows: checked against what was issued, then written in one transaction.

The first manifest recorded for a chunk wins; what a later run of it stored is garbage. Whoever calls this (a `record`
message, the reconciler) may call it again: a chunk that is done stays done.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from dispatcher.planning.manifest import check_manifest
from storage.blobs import BlobStore, is_key
from storage.errors import ManifestRefused
from storage.spec import Job, ModelFacts, Numbers, Place, digest
from storage.spec.labels import short_values
from storage.spec_store import SpecStore
from storage.sql import Database, chunks, images, jobs
from storage.sql.chunks import ChunkRow, NewChunk
from storage.sql.lookups import environment_id, model_ids, prompt_ids
from storage.sql.tables import job as job_table
from storage.states import ChunkState, ImageState, JobState
from storage.wire.keys import manifest_key, run_prefix
from storage.wire.messages import FLAGS, FailedImage, Manifest

log = logging.getLogger(__name__)
_UNFLAGGED = dict.fromkeys(FLAGS, False)
_BLANK = dict.fromkeys(("key", "preview_key", "sha256", "pixel_sha256", "bytes", "render_s", "encode_s", "upload_s"))
_OWN_COLUMN = {"model", "prompt", "negative_prompt", "seed", "scheduler", "steps", "guidance_scale", "width", "height"}
PACE_MEMORY = 0.5  # weight of the newest chunk in a job's seconds per image


class Recorder:
    """Writes what workers report. `fence` opens every transaction: it raises where we do not lead any more."""

    def __init__(self, database: Database, store: BlobStore, *, fence: Callable[[Connection], None]) -> None:
        self._database = database
        self._store = store
        self._specs = SpecStore(store)
        self._fence = fence

    def record(self, key: str) -> bool:
        """Record one manifest. Returns False if its chunk was final already.

        Raises:
            ManifestRefused: It breaks the contract; nothing was written.
            BlobMissing: There is no such manifest.
            StoreAway: The store does not answer.
            DatabaseAway: SQL does not answer.
        """
        manifest = self._read(key)
        with self._database.read() as connection:
            chunk = chunks.get(connection, manifest.job, manifest.chunk)
            if chunk is None:
                raise ManifestRefused(key, "no such chunk")
            job_row = jobs.get(connection, manifest.job)
        if chunk.state in (ChunkState.DONE, ChunkState.DROPPED):
            return False
        job = self._specs.load(manifest.job, spec_hash=job_row.spec_hash)
        check_manifest(manifest, key=key, job=job, job_row=job_row, chunk=chunk)
        with self._database.write() as connection:
            self._fence(connection)
            outcome = f"recorded: {manifest.fatal}" if manifest.fatal else "recorded"
            recorded = self._write(connection, manifest, chunk=chunk, job=job, outcome=outcome)
        if recorded:
            self._drop_previews(manifest, job)
            log.info("chunk recorded", extra=_fields(manifest))
        return recorded

    def give_up(self, chunk: ChunkRow, *, detail: str) -> bool:
        """Fail the images of a chunk that was lost too often; the rest of its job goes on.

        Raises:
            PermanentError: The job's spec is gone.
            TransientError: Nothing was written.
        """
        with self._database.read() as connection:
            job_row = jobs.get(connection, chunk.job)
        job, now = self._specs.load(chunk.job, spec_hash=job_row.spec_hash), time.time()
        manifest = Manifest(
            job=chunk.job, chunk=chunk.number, attempt=chunk.attempt, run="none", node=chunk.node or "", boot="none",
            spec_hash=job_row.spec_hash, plan=chunk.plan, environment={}, models={}, started=now, finished=now,
            failed=[FailedImage(number=number, reason="lost", detail=detail) for number in chunk.numbers], seconds={},
        )  # fmt: skip
        with self._database.write() as connection:
            self._fence(connection)
            return self._write(connection, manifest, chunk=chunk, job=job, outcome="given up")

    def _read(self, key: str) -> Manifest:
        try:
            if not is_key(key):
                raise ManifestRefused(key, "is no key of a store")
            manifest = Manifest.model_validate_json(self._store.get(key))
        except ValidationError as error:
            raise ManifestRefused(key, str(error.errors(include_url=False)[0]["msg"])) from None
        prefix = run_prefix(manifest.job, manifest.chunk, manifest.attempt, manifest.run)
        if key != manifest_key(prefix):
            raise ManifestRefused(key, f"names the run {prefix}")
        return manifest

    def _write(self, connection: Connection, manifest: Manifest, *, chunk: ChunkRow, job: Job, outcome: str) -> bool:
        now = time.time()
        if not chunks.finish(connection, chunk, outcome=outcome, now=now):
            return False
        if manifest.fatal is not None:
            end_job(connection, manifest.job, JobState.FAILED, reason=manifest.fatal, now=now)
        elif chunk.kind == "resolve":
            self._resolve(connection, manifest, now=now)
        else:
            self._render(connection, manifest, chunk=chunk, job=job)
        return True

    def _resolve(self, connection: Connection, manifest: Manifest, *, now: float) -> None:
        models = {name: entry.model_dump() for name, entry in manifest.models.items()}
        jobs.enter(connection, manifest.job, JobState.RUNNING, models=models, started_at=now)
        finish_if_complete(connection, manifest.job, now=now)

    def _render(self, connection: Connection, manifest: Manifest, *, chunk: ChunkRow, job: Job) -> None:
        job_row = jobs.get(connection, manifest.job)
        assert job_row.models is not None
        rows = image_rows(connection, manifest, chunk=chunk, job=job, models=job_row.models)
        images.add(connection, rows)
        untried = Numbers.from_json(manifest.untried)
        if untried and job_row.is_open:
            chunks.add(
                connection,
                NewChunk(job=chunk.job, kind="render", numbers=untried, plan=chunk.plan_id, model=chunk.model),
            )
        jobs.change(
            connection, manifest.job,
            done=job_table.c.done + len(manifest.images),
            failed=job_table.c.failed + len(manifest.failed),
            seconds_per_image=_pace(manifest, before=job_row.seconds_per_image),
        )  # fmt: skip
        finish_if_complete(connection, manifest.job, now=time.time())

    def _drop_previews(self, manifest: Manifest, job: Job) -> None:
        if job.spec.previews is not None and not job.spec.previews["keep"]:
            self._store.delete([made.preview for made in manifest.images if made.preview is not None])


def finish_if_complete(connection: Connection, job_id: str, *, now: float) -> bool:
    """Close a job whose every image is made or has failed. Returns whether it was closed."""
    row = jobs.get(connection, job_id)
    if row.state == JobState.RUNNING and row.done + row.failed >= row.images:
        return jobs.enter(connection, job_id, JobState.DONE, finished_at=now)
    return False


def end_job(connection: Connection, job_id: str, state: JobState, *, reason: str | None, now: float) -> bool:
    """Fail or cancel a job: chunks that no worker has are dropped. Returns whether it was open."""
    if not jobs.enter(connection, job_id, state, reason=reason, finished_at=now):
        return False
    for chunk in chunks.in_state(connection, ChunkState.READY, job_id=job_id):
        chunks.drop(connection, chunk, why=str(state), now=now)
    return True


def image_rows(
    connection: Connection, manifest: Manifest, *, chunk: ChunkRow, job: Job, models: Mapping[str, ModelFacts]
) -> list[dict[str, Any]]:
    """The image table's rows of one manifest. What decided a picture comes from the spec, not from the worker."""
    outcomes: dict[int, dict[str, Any]] = {}
    for made in manifest.images:
        seconds = made.seconds
        outcomes[made.number] = {
            "state": ImageState.DONE, "key": made.key, "preview_key": made.preview if _keeps(job) else None,
            "sha256": made.sha256, "pixel_sha256": made.pixel_sha256, "bytes": made.bytes,
            "render_s": seconds.get("render"), "encode_s": seconds.get("encode"), "upload_s": seconds.get("upload"),
            "reason": None, "detail": None, **_UNFLAGGED, **dict.fromkeys(made.flags, True),
        }  # fmt: skip
    for failed in manifest.failed:
        outcomes[failed.number] = {
            "state": ImageState.FAILED, **_BLANK, **_UNFLAGGED, "reason": failed.reason, "detail": failed.detail,
        }  # fmt: skip
    return describe(connection, outcomes, manifest=manifest, chunk=chunk, job=job, models=models)


def describe(
    connection: Connection, outcomes: Mapping[int, Mapping[str, Any]], *,
    manifest: Manifest, chunk: ChunkRow, job: Job, models: Mapping[str, ModelFacts],
) -> list[dict[str, Any]]:  # fmt: skip
    """Join outcomes by number with what the job says about each image."""
    places = [place for number in outcomes if (place := job[number]) is not None]
    texts = {text for place in places for text in (place.values["prompt"], place.values["negative_prompt"])}
    prompts: dict[str | None, int | None] = {None: None}
    prompts.update(prompt_ids(connection, [text for text in texts if text is not None]))
    bases = {place.values["model"] for place in places}
    known = model_ids(connection, {name: (models[name].digest, models[name].family) for name in bases})
    body = dict(manifest.environment)
    shared = {
        "job": manifest.job, "plan": chunk.plan_id, "chunk": chunk.number, "attempt": manifest.attempt,
        "run": manifest.run, "worker": manifest.node, "recorded_at": time.time(),
        "environment": environment_id(connection, body, digest=digest(body)),
    }  # fmt: skip
    rows = []
    for place in places:
        recipe = job.recipe(place, models)
        rows.append({
            **shared, **outcomes[place.number], **_columns(job, place, recipe), "model": known[place.values["model"]],
            "prompt": prompts[place.values["prompt"]], "negative_prompt": prompts[place.values["negative_prompt"]],
        })  # fmt: skip
    return rows


def _columns(job: Job, place: Place, recipe: Mapping[str, Any]) -> dict[str, Any]:
    said = short_values(job.spec, place)
    return {
        **{name: recipe.get(name) for name in ("seed", "steps", "guidance_scale", "width", "height")},
        "scheduler": said["scheduler"], "options": {key: said[key] for key in said if key not in _OWN_COLUMN},
        "number": place.number, "labels": dict(place.labels), "recipe_hash": digest(recipe),
    }  # fmt: skip


def _keeps(job: Job) -> bool:
    return job.spec.previews is not None and bool(job.spec.previews["keep"])


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
