"""How one image came to be: everything that is kept of it, in one document."""

from typing import Any

from dispatcher.farm import Farm
from storage.errors import UnknownName
from storage.spec.recipe import model_key, models_of
from storage.sql import images
from storage.sql.jobs import JobRow

PROVENANCE_SCHEMA = 2  # 1 wrote silent recipe keys as null, and knew one model an image


def provenance(farm: Farm, row: JobRow, number: int) -> dict[str, Any]:
    """The recipe from the spec, and plan, environment, hashes and times from SQL.

    Raises:
        UnknownName: The job has no such image, or nothing came of it yet.
    """
    job = farm.specs.load(row.id, spec_hash=row.spec_hash)
    if not 0 <= number < len(job):
        raise UnknownName("image", str(number), f"{row.name} has numbers 0 to {len(job) - 1}")
    place = job[number]
    if place is None:
        raise UnknownName("image", str(number), "the job excludes this place")
    with farm.database.read() as connection:
        image = images.get(connection, row.id, number)
    if image is None or row.models is None:
        raise UnknownName("image", str(number), f"not rendered yet; 'farm watch {row.id}' follows the job")
    return {
        "schema": PROVENANCE_SCHEMA,
        "job": {"id": row.id, "name": row.name, "user": row.user, "spec": row.spec_hash},
        "number": number,
        "state": image.state,
        "recipe": job.recipe(place, row.models),
        "recipe_hash": image.recipe_hash,
        "models": {
            key: row.models[key].digest for key in (model_key(*named) for named in models_of(place.values))
        },
        "options": dict(image.options),
        "labels": dict(image.labels),
        "flags": image.flags,
        "plan": dict(image.plan),
        "environment": dict(image.environment),
        "file": None if image.key is None else {
            "place": farm.store.locate(image.key), "sha256": image.sha256, "pixel_sha256": image.pixel_sha256,
            "bytes": image.bytes,
        },
        "previews": None if image.preview_key is None else farm.store.locate(image.preview_key),
        "run": {"worker": image.worker, "chunk": image.chunk, "attempt": image.attempt, "run": image.run},
        "seconds": {"render": image.render_s, "encode": image.encode_s, "upload": image.upload_s},
        "failure": None if image.reason is None else {"reason": image.reason, "detail": image.detail},
    }  # fmt: skip
