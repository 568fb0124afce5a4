"""Short words for values that are more than a number or a text: for file names, sheets and the catalog."""

from collections.abc import Mapping
from typing import Any

from storage.spec.fields import FIELDS, IMAGE_KEYS, SCHEDULER_KEYS
from storage.spec.job import Place, Spec
from storage.spec.recipe import is_idle

Short = str | int | float | bool | None
OWN_SCHEDULER = "own"  # the model's own, as its files configure it


def scheduler_label(scheduler: Mapping[str, Any] | None) -> str:
    """Name a scheduler on one short line: "ddim", "dpmpp_2m+use_karras_sigmas", "euler+sigma_min=0.1", "own"."""
    if scheduler is None:
        return OWN_SCHEDULER
    options = sorted(scheduler["options"].items())
    return "+".join([scheduler["name"], *(key if value is True else f"{key}={value}" for key, value in options)])


def short_values(spec: Spec, place: Place) -> dict[str, Short]:
    """What a job says of one image, by recipe key.

    Every axis is there, None where this image has nothing of it, so that all images of a job can be compared by it.
    What is the same for all of them is there if it decides something.
    """
    axes = {key for dimension in spec.dimensions for key in dimension.keys}
    said = {}
    for key in FIELDS:
        value = place.values[key]
        silent = value is None or value == [] or (is_idle(key, place.values) and key != "lora_scale")
        if key in axes or key == "scheduler" or not silent:
            said[key] = label(key, value, inputs=spec.inputs)
    return said


def label(key: str, value: Any, *, inputs: Mapping[str, Any]) -> Short:
    """Say a value of a recipe key in one short piece; numbers, texts and switches stay as they are.

    Args:
        key: Of FIELDS.
        value: In its stored form.
        inputs: What the spec says of its input images, by hash.
    """
    if key == "scheduler" or (key in SCHEDULER_KEYS and value is not None):
        return scheduler_label(value)
    if key in IMAGE_KEYS and value is not None:
        return str(inputs.get(value, {}).get("name", value))
    if isinstance(value, dict):
        return _plain(value)
    if isinstance(value, list):
        return ",".join(_part(part) for part in value) or "none"
    short: Short = value
    return short


def _part(part: Any) -> str:
    if isinstance(part, dict):
        first, *rest = part.values()
        short = str(first).rstrip("/").rpartition("/")[2]
        return ":".join([short, *(_plain(one) for one in rest if one not in ({}, 1.0))])
    if isinstance(part, list):
        return ":".join(f"{one:g}" for one in part)
    return str(part)


def _plain(value: Any) -> str:
    return "+".join(f"{name}={one}" for name, one in value.items()) if isinstance(value, dict) else str(value)
