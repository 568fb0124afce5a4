"""From an image's SQL row and its job's spec to the flat row of `columns`. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dispatcher.provenance.columns import LABEL_PREFIX
from storage.spec import Job, Place, canonical
from storage.spec.number import number_of, place_of, show_number, take_of
from storage.spec.recipe import model_key, models_of
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow

GENERATOR: Final = "cpu, one per image"  # how every worker draws noise; see docs/decisions
NOISE_DTYPE: Final = "float32"
SCORES: Final = ("clip", "aesthetic", "safety")
_COPIED: Final = (
    "recipe_hash", "rejected", "reason", "detail", "prompt", "negative_prompt", "truncated", "seed", "model",
    "model_digest", "scheduler", "steps", "guidance_scale", "width", "height", "bytes", "sha256", "pixel_sha256",
    "phash", "nsfw", "low_variance",
)  # fmt: skip
_LIBRARIES: Final = ("torch", "diffusers", "transformers")
_HOST: Final = ("host", "hostname", "node")  # of an environment, never copied


def flat_row(image: ImageRow, *, job: Job, row: JobRow, labels: Sequence[str] = ()) -> dict[str, Any]:
    """One image in the columns of `COLUMNS`; what the data set adds (file_name, split, sha256_exported) is null.

    Args:
        image: What SQL keeps of it.
        job: Its job's spec.
        row: Its job, with the digests of its models.
        labels: Those that get a column of their own.
    """
    place = job[image.number]
    return {
        "image_id": image_id(image.job, image.number), "job": image.job, "job_name": row.name,
        "number": place_of(image.number), "take": take_of(image.number), "parent": parent_of(image),
        "linked_from": linked_from(image), "state": str(image.state), "mode": job.spec.mode,
        "generator": GENERATOR, "noise_dtype": NOISE_DTYPE,
        "labels": _json(image.labels), "options": _json(image.options), "scores": _json(image.scores),
        "format": None if image.key is None else job.spec.output["format"],
        **{name: getattr(image, name) for name in _COPIED},
        **{name: image.scores.get(name) for name in SCORES},
        **_of_plan(image), **(_of_place(place, job, row) if place is not None else _NO_PLACE),
        **{LABEL_PREFIX + name: image.labels.get(name) for name in labels},
        "file_name": None, "split": None, "sha256_exported": None,
    }  # fmt: skip


def image_id(job_id: str, number: int) -> str:
    """Name an image among all of a farm: "k3v9/12", "k3v9/12.1"."""
    return f"{job_id}/{show_number(number)}"


def parent_of(image: ImageRow) -> str | None:
    """The image that it is a further take of; None for take 0."""
    return image_id(image.job, number_of(place_of(image.number), take=0)) if take_of(image.number) else None


def linked_from(image: ImageRow) -> str | None:
    """The image of another job that it was rendered as; None where it was rendered for its own."""
    return None if image.linked_job is None else image_id(image.linked_job, image.linked_number or 0)


_NO_PLACE: Final[Mapping[str, Any]] = dict.fromkeys(
    ("prompt_template", "family", "models", "scheduler_class", "scheduler_options", "strength", "init_image", "mask",
     "recipe")
)  # fmt: skip


def _of_place(place: Place, job: Job, row: JobRow) -> dict[str, Any]:
    facts = row.models or {}
    recipe = job.recipe(place, facts)
    scheduler = recipe.get("scheduler") or {}
    used = {key: facts[key].digest for key in (model_key(*named) for named in models_of(place.values))}
    base = facts[model_key("checkpoint", place.values["model"])]
    return {
        "prompt_template": place.template, "family": base.family, "models": _json(used),
        "scheduler_class": scheduler.get("class"),
        "scheduler_options": _json(scheduler["options"]) if scheduler else None,
        "strength": recipe.get("strength"), "init_image": recipe.get("init_image"), "mask": recipe.get("mask"),
        "recipe": _json(recipe),
    }  # fmt: skip


def _of_plan(image: ImageRow) -> dict[str, Any]:
    plan = canonical(dict(image.plan))
    environment = {name: value for name, value in image.environment.items() if name not in _HOST}
    versions = {name: environment.get(name) for name in _LIBRARIES}
    return {
        "plan": plan.decode(), "plan_hash": hashlib.sha256(plan).hexdigest(),
        **{name: image.plan.get(name) for name in ("dtype", "batch", "device_type")}, "environment": _json(environment),
        **{name: None if version is None else str(version) for name, version in versions.items()},
    }  # fmt: skip


def _json(value: Mapping[str, Any]) -> str:
    return canonical(dict(value)).decode()
