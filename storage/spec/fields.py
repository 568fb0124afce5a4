"""What a recipe is made of: every key that a job may fix or turn into an axis.

One table feeds the job file's schema, the check of axis values, the render order, the recipe and the catalog's columns.
Names are those of diffusers where it has one. A key that a job leaves silent is absent from its recipes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, TypeAdapter

from storage.errors import InvalidSpec
from storage.spec.kinds import (
    Callbacks,
    CropPair,
    Cutoff,
    Embeddings,
    Guidance,
    GuidanceSteps,
    InputImage,
    Layers,
    Loras,
    ModelName,
    Pixels,
    Ratio,
    Scale,
    Score,
    Seed,
    Side,
    Sigmas,
    SizePair,
    Steps,
    Strength,
    Switch,
    Text,
    Timesteps,
    Tokens,
)
from storage.spec.schedulers import check_options, find_scheduler


class Cost(IntEnum):
    """How dear a change from one image to the next is; the dearest axis is the outermost loop."""

    MODEL = 0  # other weights
    SIZE = 1  # another batch shape
    ADAPTER = 2  # small weights taken off and put on
    BATCH = 3  # another pipeline call
    IMAGE = 4  # nothing: such images share a batch


TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINT = "text-to-image", "image-to-image", "inpaint"
DEPTH, UNCONDITIONAL = "depth-to-image", "unconditional"
MODES = (TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINT, DEPTH, UNCONDITIONAL)
Mode = Literal["text-to-image", "image-to-image", "inpaint", "depth-to-image", "unconditional"]
_PROMPTED = frozenset({TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINT, DEPTH})
_FROM_IMAGE = frozenset({IMAGE_TO_IMAGE, INPAINT, DEPTH})
_INPAINT = frozenset({INPAINT})
_DEPTH = frozenset({DEPTH})
_CONTROLLED = frozenset({TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINT})


@dataclass(frozen=True, slots=True)
class RecipeField:
    """One key of the recipe. `default` is what a job that is silent gets; `...` means it must speak."""

    name: str
    cost: Cost
    kind: Any  # what pydantic checks a value against
    note: str  # one line for people; no full stop
    default: object = None
    modes: frozenset[str] = frozenset(MODES)
    refers: str | None = None  # "image", or the kind of model that the value names
    needs: str | None = None  # another key that must be given too


SchedulerValue = str | dict[str, Any]
_M, _S, _A, _B, _I = Cost.MODEL, Cost.SIZE, Cost.ADAPTER, Cost.BATCH, Cost.IMAGE


def _field(name: str, cost: Cost, kind: Any, note: str, **rest: Any) -> RecipeField:
    return RecipeField(name, cost, kind, note, **{"modes": _PROMPTED, **rest})


_ALL = frozenset(MODES)
FIELDS: Mapping[str, RecipeField] = {
    field.name: field
    for field in (
        _field("model", _M, ModelName, "weights to render with", default=..., modes=_ALL, refers="checkpoint"),
        _field("refiner", _M, ModelName, "second model that finishes the picture (SDXL)", refers="checkpoint"),
        _field("vae", _M, ModelName, "a VAE instead of the model's own", refers="vae"),
        _field("controlnet", _M, ModelName, "ControlNet", refers="controlnet", modes=_CONTROLLED),
        _field("ip_adapter", _M, ModelName, "IP-Adapter", refers="ip_adapter", needs="ip_adapter_image"),
        _field("width", _S, Side, "pixels, divisible by 8", modes=_ALL),
        _field("height", _S, Side, "pixels, divisible by 8", modes=_ALL),
        _field("loras", _A, Loras, "LoRA weights with scales", refers="lora"),
        _field("lora_scale", _A, Scale, "factor on the scales of all LoRAs", needs="loras"),
        _field("embeddings", _A, Embeddings, "textual inversions with their tokens", refers="embedding"),
        _field("scheduler", _B, SchedulerValue, "sampler, or {name, option: value}", modes=_ALL),
        _field("steps", _B, Steps, "denoising steps", default=30, modes=_ALL),
        _field("timesteps", _B, Timesteps, "own schedule instead of steps"),
        _field("sigmas", _B, Sigmas, "own noise levels instead of steps"),
        _field("guidance_scale", _B, Guidance, "classifier-free guidance"),
        _field("guidance_rescale", _B, Ratio, "against over-exposure, Lin et al. 2023"),
        _field("true_cfg_scale", _B, Guidance, "guidance by the negative prompt where the model is distilled (Flux)"),
        _field("cfg_cutoff", _B, Cutoff, "where guidance ends: a ratio of the steps, or {step: n}"),
        _field("dynamic_guidance", _B, GuidanceSteps, "pairs [from_ratio, scale]"),
        _field("eta", _B, Ratio, "noise of DDIM (0 to 1), gamma of TCD", modes=_ALL),
        _field("strength", _B, Strength, "how much of the first image is repainted", modes=_FROM_IMAGE),
        _field("clip_skip", _B, Layers, "layers of the text encoder left out"),
        _field("max_sequence_length", _B, Tokens, "tokens that T5 and other large text encoders read"),
        _field("original_size", _B, SizePair, "SDXL: [height, width] that the picture pretends to come from"),
        _field("target_size", _B, SizePair, "SDXL: [height, width] that it pretends to be made for"),
        _field("crops_coords_top_left", _B, CropPair, "SDXL: [top, left] of the pretended crop"),
        _field("negative_original_size", _B, SizePair, "likewise, to be steered away from"),
        _field("negative_target_size", _B, SizePair, "likewise, to be steered away from"),
        _field("negative_crops_coords_top_left", _B, CropPair, "likewise, to be steered away from"),
        _field("long_prompts", _B, Literal["refuse", "truncate", "chunk"], "what to do with too long prompts",
               default="refuse"),
        _field("weighting", _B, Literal["none", "a1111"], "whether (word:1.3) weighs a word", default="none"),
        _field("mask_invert", _B, Switch, "repaint what is black instead of what is white", modes=_INPAINT),
        _field("mask_blur", _B, Pixels, "soft edge of the mask, pixels", modes=_INPAINT),
        _field("padding_mask_crop", _B, Pixels, "repaint at full size a crop with that margin, pixels",
               modes=_INPAINT),
        _field("resize", _B, Literal["crop", "pad", "stretch"], "how input images come to the size", default="crop"),
        _field("controlnet_conditioning_scale", _B, Scale, "weight of the ControlNet", needs="controlnet"),
        _field("control_guidance_start", _B, Ratio, "share of the steps before it acts", needs="controlnet"),
        _field("control_guidance_end", _B, Ratio, "share of the steps after which it rests", needs="controlnet"),
        _field("ip_adapter_image", _B, InputImage, "picture that the IP-Adapter follows", refers="image",
               needs="ip_adapter"),
        _field("ip_adapter_scale", _B, Scale, "weight of the IP-Adapter", needs="ip_adapter"),
        _field("ip_adapter_cutoff", _B, Ratio, "share of the steps after which it rests", needs="ip_adapter"),
        _field("refiner_start", _B, Ratio, "share of the steps that the base does; the refiner goes on from there",
               needs="refiner"),
        _field("refiner_strength", _B, Strength, "the refiner repaints the finished picture by that much",
               needs="refiner"),
        _field("refiner_steps", _B, Steps, "steps of the refiner; silent: as the base", needs="refiner"),
        _field("refiner_scheduler", _B, SchedulerValue, "sampler of the refiner; silent: as the base",
               needs="refiner"),
        _field("refiner_guidance_scale", _B, Guidance, "guidance of the refiner; silent: as the base",
               needs="refiner"),
        _field("aesthetic_score", _B, Score, "that the refiner aims at", needs="refiner"),
        _field("negative_aesthetic_score", _B, Score, "that the refiner avoids", needs="refiner"),
        _field("safety_checker", _B, Literal["off", "flag"], "flag: blacken and mark what the model's checker finds",
               default="off"),
        _field("watermark", _B, Switch, "SDXL: invisible watermark; never on by itself"),
        _field("callbacks", _B, Callbacks, "code of your own at every step, by entry point", modes=_ALL),
        _field("prompt", _I, Text, "what the picture shows", default=...),
        _field("prompt_2", _I, Text, "for the second text encoder; silent: prompt"),
        _field("prompt_3", _I, Text, "for the third text encoder; silent: prompt"),
        _field("negative_prompt", _I, Text | None, "what it should not show"),
        _field("negative_prompt_2", _I, Text, "for the second text encoder"),
        _field("negative_prompt_3", _I, Text, "for the third text encoder"),
        _field("refiner_prompt", _I, Text, "for the refiner; silent: prompt", needs="refiner"),
        _field("refiner_negative_prompt", _I, Text, "for the refiner; silent: negative_prompt", needs="refiner"),
        _field("init_image", _I, InputImage, "picture to start from", refers="image", modes=_FROM_IMAGE, default=...),
        _field("mask", _I, InputImage, "white is repainted", refers="image", modes=_INPAINT, default=...),
        _field("depth_map", _I, InputImage, "depth of the first image; silent: estimated", refers="image",
               modes=_DEPTH),
        _field("control_image", _I, InputImage, "picture that the ControlNet follows", refers="image",
               needs="controlnet", modes=_CONTROLLED),
        _field("seed", _I, Seed, "of the noise", default=0, modes=_ALL),
    )
}  # fmt: skip
SCHEDULER_KEYS = frozenset({"scheduler", "refiner_scheduler"})
IMAGE_KEYS = frozenset(name for name, field in FIELDS.items() if field.refers == "image")
PROMPT_KEYS = tuple(name for name, field in FIELDS.items() if field.kind in (Text, Text | None))
MODEL_KEYS = tuple(name for name, field in FIELDS.items() if field.refers not in (None, "image"))
_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    field.name: TypeAdapter(field.kind) for field in FIELDS.values() if field.name not in SCHEDULER_KEYS
}


def holds_whole_number(field: RecipeField) -> bool:
    """Whether the key's value is one whole number, so that a range makes sense."""
    return get_args(field.kind)[:1] == (int,)


def holds_number(field: RecipeField) -> bool:
    """Whether the key's value is one plain number, so that a text from a file is to be read as one."""
    return get_args(field.kind)[:1] in ((int,), (float,))


def holds_switch(field: RecipeField) -> bool:
    """Whether the key's value is true or false."""
    return get_args(field.kind)[:1] == (bool,)


def check_value(name: str, value: object, *, path: str) -> object:
    """Check one value of one recipe key and bring it to its stored form.

    Args:
        name: A key of FIELDS.
        value: As it stood in the file; an input image by its hash. None stands for silence where that is allowed.
        path: Where it stood, for the message.

    Returns:
        The value; a scheduler as {"name": ..., "options": {...}}; adapters as lists of mappings.

    Raises:
        pydantic.ValidationError: The value breaks a rule.
        InvalidSpec: An unknown scheduler or option.
    """
    if value is None and FIELDS[name].default is None:
        return None
    if name in SCHEDULER_KEYS:
        return _check_scheduler(value, path=path)
    checked: object = _ADAPTERS[name].validate_python(value)
    return checked


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
