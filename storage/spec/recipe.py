"""From what a job says of one image to its recipe: resolved to the last value, models and inputs by hash. Pure.

A key that says nothing is left out, so that a key which a later version adds changes no hash of an older recipe.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from storage.spec.canonical import digest
from storage.spec.fields import FIELDS, IMAGE_KEYS, MODEL_KEYS, PROMPT_KEYS, SCHEDULER_KEYS, Cost
from storage.spec.schedulers import SCHEDULERS

RECIPE_SCHEMA: Final = 2  # 1 wrote every key, silent ones as null
CHECKPOINT: Final = "checkpoint"
SAFETY_CHECKER: Final = "safety_checker"
CALLBACK: Final = "callback"
CODE: Final = "code"  # of a callback in a recipe: the digest of what it runs
_TELLING: Final = {"embeddings": "token", "callbacks": "options"}  # a word of the prompt; whatever a job tells its code
TELLING_KEYS: Final = frozenset({*PROMPT_KEYS, *_TELLING})  # that may say a prompt, or words of one
_SAYS_NOTHING: Final[Mapping[str, Any]] = {
    "safety_checker": "off", "long_prompts": "refuse", "weighting": "none", "watermark": False, "mask_invert": False,
    "mask_blur": 0, "clip_skip": 0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What a worker found out about a model, frozen with the job before its first chunk."""

    digest: str  # "sha256:..." over every file that decides pixels, or of the code that is named
    family: str  # diffusers class
    kind: str = CHECKPOINT
    width: int | None = None  # pixels, the size that the model was made for; None for parts that have none
    height: int | None = None
    guidance_scale: float | None = None  # what the family's pipeline takes where nobody says

    def to_json(self) -> dict[str, Any]:
        """For the manifest and for SQL."""
        return asdict(self)


def model_key(kind: str, name: str) -> str:
    """What a job knows a model by: a checkpoint by its name, everything else with its kind before it."""
    return name if kind == CHECKPOINT else f"{kind}:{name}"


def models_of(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind and name of every model that an image uses; the base checkpoint comes first."""
    for key in MODEL_KEYS:
        kind, value = str(FIELDS[key].refers), values.get(key)
        if value is not None:
            for name in [entry["model"] for entry in value] if isinstance(value, list) else [value]:
                yield kind, name
    if values.get("safety_checker") == "flag":
        yield SAFETY_CHECKER, values["model"]


def recipe_of(mode: str, values: Mapping[str, Any], models: Mapping[str, ModelFacts]) -> dict[str, Any]:
    """What decides the picture.

    Args:
        mode: Of the job.
        values: Every key of FIELDS; None is silence.
        models: Facts by `model_key`.
    """
    recipe: dict[str, Any] = {"schema": RECIPE_SCHEMA, "mode": mode}
    for name in FIELDS:
        if values.get(name) is not None or name in _RESOLVERS:  # most keys are silent, and nothing else speaks for them
            value = _resolved(name, values, models)
            if value is not None and value != []:
                recipe[name] = value
    return recipe


def batch_key(recipe: Mapping[str, Any]) -> tuple[Any, ...]:
    """What images must share to go through one pipeline call.

    Of the keys that may differ within a call, all images must have the same ones: to SDXL, no negative prompt and an
    empty one are two things, and it takes one kind for the whole call.
    """
    shared = {name: recipe.get(name) for name, entry in FIELDS.items() if entry.cost != Cost.IMAGE}
    present = [name for name, entry in FIELDS.items() if entry.cost == Cost.IMAGE and name in recipe]
    return recipe["mode"], digest(shared), tuple(present)


def is_idle(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a key decides nothing of this picture, whatever its value: it is no part of the recipe."""
    if _lacks(name, values):
        return True
    if name == "resize":
        return all(values.get(key) is None for key in IMAGE_KEYS)
    return name == "lora_scale" or (name in _SAYS_NOTHING and values.get(name) == _SAYS_NOTHING[name])


def _lacks(name: str, values: Mapping[str, Any]) -> bool:
    """Whether something is silent that the key needs, or that what it needs needs: an IP-Adapter and its picture."""
    seen = {name}
    needed = FIELDS[name].needs
    while needed is not None and needed not in seen:
        if not values.get(needed):
            return True
        seen.add(needed)
        needed = FIELDS[needed].needs
    return False


def _resolved(name: str, values: Mapping[str, Any], models: Mapping[str, ModelFacts]) -> Any:
    refers, value = FIELDS[name].refers, values.get(name)
    if is_idle(name, values):
        return None
    if name in _RESOLVERS:
        return _RESOLVERS[name](values, models)
    if value is None or refers is None or refers == "image":
        return _scheduler(value) if value is not None and name in SCHEDULER_KEYS else value
    return models[model_key(refers, value)].digest


def _scheduler(value: Mapping[str, Any]) -> dict[str, Any]:
    kind = SCHEDULERS[value["name"]]
    return {"class": kind.diffusers_class, "options": {**kind.preset, **value["options"]}}


def _base(values: Mapping[str, Any], models: Mapping[str, ModelFacts]) -> ModelFacts:
    return models[model_key(CHECKPOINT, values["model"])]


def _steps(values: Mapping[str, Any], _: Mapping[str, ModelFacts]) -> int:
    return len(values.get("timesteps") or values.get("sigmas") or ()) or int(values["steps"])


def _guidance(values: Mapping[str, Any], models: Mapping[str, ModelFacts]) -> float | None:
    given: float | None = values.get("guidance_scale")
    return _base(values, models).guidance_scale if given is None else given


def _loras(values: Mapping[str, Any], models: Mapping[str, ModelFacts]) -> list[dict[str, Any]]:
    factor = 1.0 if values.get("lora_scale") is None else values["lora_scale"]
    return [
        {"model": models[model_key("lora", entry["model"])].digest, "scale": entry["scale"] * factor}
        for entry in values.get("loras") or []
    ]


def without_prompts(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe that tells no prompt: tokens of embeddings and options of callbacks go too."""
    return {key: _untold(key, value) for key, value in recipe.items() if key not in PROMPT_KEYS}


def _untold(key: str, value: Any) -> Any:
    hidden = _TELLING.get(key)
    if hidden is None:
        return value
    return [{name: said for name, said in entry.items() if name != hidden} for entry in value]


def _embeddings(values: Mapping[str, Any], models: Mapping[str, ModelFacts]) -> list[dict[str, Any]]:
    return [
        {"model": models[model_key("embedding", entry["model"])].digest, "token": entry["token"]}
        for entry in values.get("embeddings") or []
    ]


def _callbacks(values: Mapping[str, Any], models: Mapping[str, ModelFacts]) -> list[dict[str, Any]]:
    """With the digests of their code, where the job knows them: older jobs do not."""
    named = [(entry, models.get(model_key(CALLBACK, entry["name"]))) for entry in values.get("callbacks") or []]
    return [entry if facts is None else {**entry, CODE: facts.digest} for entry, facts in named]


_RESOLVERS: Final[Mapping[str, Any]] = {
    "width": lambda values, models: values["width"] or _base(values, models).width,
    "height": lambda values, models: values["height"] or _base(values, models).height,
    "steps": _steps,
    "guidance_scale": _guidance,
    "loras": _loras,
    "embeddings": _embeddings,
    "callbacks": _callbacks,
    "safety_checker": lambda values, models: models[model_key(SAFETY_CHECKER, values["model"])].digest,
}
