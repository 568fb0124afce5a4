"""What a recipe is made of: every key that a job may fix or turn into an axis.

One table feeds the job file's schema, the check of axis values, the render order and the catalog's columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter

from storage.errors import InvalidSpec
from storage.spec.schedulers import check_options, find_scheduler

SIZE_STEP = 8  # pixels per latent of every latent-diffusion VAE in use
MAX_SIDE = 8192  # pixels
MAX_PROMPT_BYTES = 65_536


def _on_grid(pixels: int) -> int:
    if pixels % SIZE_STEP:
        raise ValueError(f"must be divisible by {SIZE_STEP}")
    return pixels


def _storable(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode (it holds half of a surrogate pair)") from None
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    if size > MAX_PROMPT_BYTES:
        raise ValueError(f"must be at most {MAX_PROMPT_BYTES} bytes (it has {size})")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Steps = Annotated[int, Field(ge=1, le=1000, strict=True)]
Guidance = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False, strict=True)]
Side = Annotated[int, Field(ge=SIZE_STEP, le=MAX_SIDE, strict=True), AfterValidator(_on_grid)]
ModelName = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_storable)]


class Cost(IntEnum):
    """How dear a change from one image to the next is; the dearest axis is the outermost loop."""

    MODEL = 0  # other weights
    SIZE = 1  # another batch shape
    BATCH = 2  # another pipeline call
    IMAGE = 3  # nothing: such images share a batch


@dataclass(frozen=True, slots=True)
class RecipeField:
    """One key of the recipe. `default` is what a job that is silent gets; `...` means it must speak."""

    name: str
    cost: Cost
    kind: Any  # what pydantic checks a value against
    default: object


SchedulerValue = str | dict[str, Any]
FIELDS: Mapping[str, RecipeField] = {
    field.name: field
    for field in (
        RecipeField("model", Cost.MODEL, ModelName, ...),
        RecipeField("width", Cost.SIZE, Side, None),  # None: the model's own size
        RecipeField("height", Cost.SIZE, Side, None),
        RecipeField("scheduler", Cost.BATCH, SchedulerValue, "ddim"),
        RecipeField("steps", Cost.BATCH, Steps, 30),
        RecipeField("guidance_scale", Cost.BATCH, Guidance, 7.5),
        RecipeField("prompt", Cost.IMAGE, Text, ...),
        RecipeField("negative_prompt", Cost.IMAGE, Text | None, None),
        RecipeField("seed", Cost.IMAGE, Seed, 0),
    )
}
_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    field.name: TypeAdapter(field.kind) for field in FIELDS.values() if field.name != "scheduler"
}


def check_value(name: str, value: object, *, path: str) -> object:
    """Check one value of one recipe key and bring it to its stored form.

    Args:
        name: A key of FIELDS.
        value: As it stood in the file.
        path: Where it stood, for the message.

    Returns:
        The value; a scheduler as {"name": ..., "options": {...}}; a whole-number guidance scale as float.

    Raises:
        pydantic.ValidationError: The value breaks a rule.
        InvalidSpec: An unknown scheduler or option.
    """
    if name == "scheduler":
        return _check_scheduler(value, path=path)
    checked: object = _ADAPTERS[name].validate_python(value)
    return float(checked) + 0.0 if name == "guidance_scale" and isinstance(checked, int | float) else checked  # no -0.0


def _check_scheduler(value: object, *, path: str) -> dict[str, object]:
    entry: object = {"name": value} if isinstance(value, str) else value
    checked: dict[str, Any] = TypeAdapter(SchedulerEntry).validate_python(entry)
    kind = find_scheduler(checked["name"], path=path)
    options = (
        checked["options"]
        if set(checked) == {"name", "options"} and isinstance(checked["options"], dict)
        else {key: option for key, option in checked.items() if key != "name"}
    )
    check_options(kind, options, path=path)
    for key, option in options.items():
        _check_option(option, path=f"{path}.{key}")
    return {"name": kind.name, "options": options}


def _check_option(value: object, *, path: str) -> None:
    """An option must have a place in JSON and in a file name."""
    if not isinstance(value, bool | int | float | str | None) or (isinstance(value, float) and not isfinite(value)):
        raise InvalidSpec(path, value, "must be a finite number, a text, true, false or null")
    if isinstance(value, str):
        _TEXT.validate_python(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise InvalidSpec(path, value, "must be in (-2**63, 2**63)")


def _is_scheduler(entry: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(entry.get("name"), str):
        raise ValueError("must be a name, or {name: ..., option: value}")
    return entry


SchedulerEntry = Annotated[dict[str, Any], AfterValidator(_is_scheduler)]


def scheduler_label(scheduler: Mapping[str, Any]) -> str:
    """Name a scheduler on one short line: "ddim", "dpmpp_2m+use_karras_sigmas", "euler+sigma_min=0.1"."""
    options = sorted(scheduler["options"].items())
    return "+".join([scheduler["name"], *(key if value is True else f"{key}={value}" for key, value in options)])
