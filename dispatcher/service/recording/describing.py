"""What the image table says of an image: its outcome from the worker, all that decided it from the job's own spec."""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from storage.spec import Job, ModelFacts, Place, digest
from storage.spec.finish import finish_of
from storage.spec.labels import short_values
from storage.sql.chunks import ChunkRow
from storage.sql.lookups import environment_id, model_ids, prompt_ids
from storage.states import ImageState
from storage.wire.messages import FLAGS, Manifest

_UNFLAGGED = dict.fromkeys(FLAGS, False)
_NOTHING = ("key", "preview_key", "sha256", "pixel_sha256", "bytes", "xxh3_64", "phash", "render_s", "encode_s",
            "upload_s")  # fmt: skip
_BLANK: Mapping[str, Any] = {**dict.fromkeys(_NOTHING), "scores": {}}
_OWN_COLUMN = {"model", "prompt", "negative_prompt", "seed", "scheduler", "steps", "guidance_scale", "width", "height"}


def image_rows(
    connection: Connection, manifest: Manifest, *, chunk: ChunkRow, job: Job, models: Mapping[str, ModelFacts]
) -> list[dict[str, Any]]:
    """The image table's rows of one manifest. What decided a picture comes from the spec, not from the worker."""
    outcomes: dict[int, dict[str, Any]] = {}
    for made in manifest.images:
        seconds = made.seconds
        outcomes[made.number] = {
            "state": ImageState.DONE, "key": made.key, "preview_key": made.preview if keeps_previews(job) else None,
            "sha256": made.sha256, "pixel_sha256": made.pixel_sha256, "bytes": made.bytes, "xxh3_64": made.xxh3_64,
            "phash": made.phash, "scores": dict(made.scores),
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
        "environment": environment_id(connection, body, digest=digest(body)), "finish": finish_of(job.spec, models),
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


def keeps_previews(job: Job) -> bool:
    """Whether the step previews of a job's images stay in the store."""
    return job.spec.previews is not None and bool(job.spec.previews["keep"])
