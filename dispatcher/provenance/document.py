"""How one image came to be: everything that is kept of it, in one document.

The flat row of `columns` is what data sets carry; this is for one image, and knows its run and its times too. Names
that both have mean the same.
"""

from collections.abc import Mapping
from typing import Any, Final

from dispatcher.farm import Farm
from dispatcher.provenance.rows import GENERATOR, NOISE_DTYPE, image_id, linked_from, parent_of
from storage.errors import UnknownName
from storage.spec import Job, Place, digest
from storage.spec.named_code import WATERMARK, code_of
from storage.spec.number import place_of, show_number, take_of
from storage.spec.quality import scorers_of
from storage.spec.recipe import CALLBACK, model_key, models_of
from storage.sql import images, registry
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow

PROVENANCE_SCHEMA: Final = 3  # 2 had no noise, output, sources, takes, scores; 1 wrote silent recipe keys as null


def provenance(farm: Farm, row: JobRow, number: int) -> dict[str, Any]:
    """The recipe from the spec, and plan, environment, hashes and times from SQL.

    Raises:
        UnknownName: The job has no such image, or nothing came of it yet.
    """
    job = farm.specs.load(row.id, spec_hash=row.spec_hash)
    place = _place(job, row, number)
    with farm.database.read() as connection:
        image = images.get(connection, row.id, number)
        licences = {model.digest: model.license for model in registry.listing(connection)}
    if image is None or row.models is None:
        never = f"no such take of image {show_number(place_of(number))}"
        raise UnknownName("image", show_number(number), never if take_of(number) else _not_rendered(row))
    return {
        "schema": PROVENANCE_SCHEMA,
        **_identity(row, image),
        "recipe": job.recipe(place, row.models),
        "recipe_hash": image.recipe_hash,
        "prompt": _prompt(image, place),
        "noise": _noise(image, place),
        "models": _models(job, row, place, licences),
        "scorers": _scorers(job, row, licences),
        "code": _code(job, row, place),
        "scheduler": image.scheduler,
        "options": dict(image.options),
        "labels": dict(image.labels),
        "sources": [dict(source) for source in job.spec.sources],
        "plan": dict(image.plan), "plan_hash": digest(dict(image.plan)), "batch": image.plan.get("batch"),
        "environment": dict(image.environment),
        "output": {**job.spec.output, "finish": image.finish},
        "quality": _quality(image),
        "flags": image.flags,
        **_files(farm, image),
        "run": {"worker": image.worker, "chunk": image.chunk, "attempt": image.attempt, "run": image.run},
        "seconds": {"render": image.render_s, "encode": image.encode_s, "upload": image.upload_s},
        "recorded_at": image.recorded_at,
        "failure": None if image.reason is None else {"reason": image.reason, "detail": image.detail},
    }  # fmt: skip


def _place(job: Job, row: JobRow, number: int) -> Place:
    shown = show_number(number)
    if not 0 <= place_of(number) < len(job):
        raise UnknownName("image", shown, f"{row.name} has numbers 0 to {len(job) - 1}")
    place = job[number]
    if place is None:
        raise UnknownName("image", shown, "the job excludes this place")
    return place


def _not_rendered(row: JobRow) -> str:
    if row.is_open:
        return f"not rendered yet; 'farm watch {row.id}' follows the job"
    return f"not rendered, and the job is {row.state}; 'farm why {row.id}' says why"


def _identity(row: JobRow, image: ImageRow) -> dict[str, Any]:
    number, take = place_of(image.number), take_of(image.number)
    return {
        "image_id": image_id(row.id, image.number),
        "job": {"id": row.id, "name": row.name, "user": row.user, "spec": row.spec_hash},
        "number": number,
        "take": take,
        "parent": parent_of(image),
        "linked_from": linked_from(image),
        "state": image.state,
    }


def _prompt(image: ImageRow, place: Place) -> dict[str, Any]:
    template = getattr(place, "template", None)
    return {
        "text": image.prompt, "negative": image.negative_prompt, "template": template,
        "bindings": dict(place.labels) if template is not None else None, "truncated": image.truncated,
    }  # fmt: skip


def _noise(image: ImageRow, place: Place) -> dict[str, Any]:
    return {
        "seed": str(image.seed),  # a text: JavaScript's numbers end at 2**53
        "replicate": place.replicate, "generator": GENERATOR, "dtype": NOISE_DTYPE,
        "size": [image.width, image.height],
    }  # fmt: skip


def _models(job: Job, row: JobRow, place: Place, licences: Mapping[str, str | None]) -> dict[str, Any]:
    """The models that the image uses, the base checkpoint first, by what the job calls them."""
    return {key: _model(job, row, key, licences) for key in (model_key(*named) for named in models_of(place.values))}


def _scorers(job: Job, row: JobRow, licences: Mapping[str, str | None]) -> dict[str, Any]:
    """The models that gave the image its scores, by the names of the scores."""
    keys = {name: model_key(name, entry["model"]) for name, entry in scorers_of(job.spec).items()}
    return {name: _model(job, row, key, licences) for name, key in keys.items()}


def _model(job: Job, row: JobRow, key: str, licences: Mapping[str, str | None]) -> dict[str, Any]:
    assert row.models is not None
    facts = row.models[key]
    return {
        "digest": facts.digest, "kind": facts.kind, "family": facts.family,
        "source": job.spec.models.get(key, {}).get("source"), "license": licences.get(facts.digest),
    }  # fmt: skip


def _code(job: Job, row: JobRow, place: Place) -> dict[str, Any]:
    """The operator's code that had a hand in the image; its digest is null in jobs from before it was recorded."""
    assert row.models is not None
    mine = {model_key(CALLBACK, entry["name"]) for entry in place.values.get("callbacks") or ()}
    found: dict[str, Any] = {}
    for key, named in code_of(job.spec).items():
        if key in mine or named["kind"] == WATERMARK:
            facts = row.models.get(key)
            found[key] = {
                "kind": named["kind"], "digest": None if facts is None else facts.digest,
                "distribution": None if facts is None else facts.family,
            }  # fmt: skip
    return found


def _quality(image: ImageRow) -> dict[str, Any]:
    return {"phash": image.phash, "scores": dict(image.scores), "rejected": image.rejected}


def _files(farm: Farm, image: ImageRow) -> dict[str, Any]:
    made = None if image.key is None else {
        "place": farm.store.locate(image.key), "sha256": image.sha256, "pixel_sha256": image.pixel_sha256,
        "bytes": image.bytes,
    }  # fmt: skip
    previews = None if image.preview_key is None else farm.store.locate(image.preview_key)
    return {"file": made, "previews": previews}
