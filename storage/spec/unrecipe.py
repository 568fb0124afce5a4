"""From a recipe back to what a job would say of that image: the inverse of `storage.spec.recipe`. Pure.

A recipe alone, such as a picture file carries it, is then enough to render the picture again. Several ways of saying
lead to one recipe (`lora_scale` is folded into the scales, an option of a scheduler may be its preset's), so what comes
back is one of them: `recipe_of` makes the same recipe of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from storage.errors import InvalidSpec
from storage.rules import rule_of
from storage.spec.canonical import canonical
from storage.spec.fields import FIELDS, IMAGE_KEYS, MODEL_KEYS, MODES, SCHEDULER_KEYS, check_value
from storage.spec.recipe import CODE, RECIPE_SCHEMA, model_key
from storage.spec.schedulers import SCHEDULERS, SchedulerKind

_ABOUT: Final = ("schema", "mode")
_UNUSED: Final = f"sha256:{0:064}"
_SILENT: Final[Mapping[str, Any]] = {
    name: None if field.default is ... else field.default for name, field in FIELDS.items()
}


def values_of(recipe: Mapping[str, Any], names_by_digest: Mapping[str, str]) -> dict[str, Any]:
    """What a job says of an image with that recipe.

    Args:
        recipe: As `recipe_of` made it.
        names_by_digest: What the job is to call each model, by its digest, or by `model_key(kind, digest)` where one
            digest has names of several kinds; one that is missing is called by its digest.

    Returns:
        Every key of FIELDS; None is silence.

    Raises:
        InvalidSpec: The recipe has another schema, a key or a scheduler that this farm does not know.
    """
    _check_head(recipe)
    values = dict(_SILENT)
    for key in recipe:
        if key not in _ABOUT:
            values[key] = _value(key, recipe, names_by_digest)
    if "resize" in recipe and not inputs_of(recipe):
        values["ip_adapter_image"] = _UNUSED  # the job had a picture that this image made no use of, and resize tells
    return values


def check_recipe(recipe: Mapping[str, Any]) -> None:
    """Hold a recipe that came from outside against the rules of a job file, value by value.

    Raises:
        InvalidSpec: With the key, the value and the rule.
    """
    said = values_of(recipe, {})
    for key, entry in FIELDS.items():
        if entry.default is ... and recipe["mode"] in entry.modes and said[key] is None:
            raise InvalidSpec(f"recipe.{key}", None, "missing; it must be given")
        if said[key] is None:
            continue
        try:
            check_value(key, said[key], path=f"recipe.{key}")
        except ValidationError as error:
            raise InvalidSpec(f"recipe.{key}", said[key], rule_of(error.errors()[0])) from None


def digests_of(recipe: Mapping[str, Any]) -> dict[str, list[str]]:
    """Digests of the models that a recipe names, by its key; a safety checker stands under its own."""
    found = {}
    for key in (*MODEL_KEYS, "safety_checker"):
        value = recipe.get(key)
        if value is not None:
            found[key] = [entry["model"] for entry in value] if isinstance(value, list) else [value]
    return found


def inputs_of(recipe: Mapping[str, Any]) -> list[str]:
    """Hashes of the input images that a recipe names, each once."""
    return sorted({recipe[key] for key in IMAGE_KEYS if key in recipe})


def _check_head(recipe: Mapping[str, Any]) -> None:
    if recipe.get("schema") != RECIPE_SCHEMA:
        raise InvalidSpec("recipe.schema", recipe.get("schema"), f"must be {RECIPE_SCHEMA}, which this farm reads")
    if recipe.get("mode") not in MODES:
        raise InvalidSpec("recipe.mode", recipe.get("mode"), f"must be one of {', '.join(MODES)}")
    unknown = sorted(str(key) for key in set(recipe) - set(FIELDS) - set(_ABOUT))
    if unknown:
        raise InvalidSpec(f"recipe.{unknown[0]}", recipe[unknown[0]], "unknown key; a newer farm may know it")
    for key in recipe:
        needed = None if key in _ABOUT else FIELDS[key].needs
        if needed is not None and needed not in recipe:  # such as the weight of an IP-Adapter that had no picture
            raise InvalidSpec(f"recipe.{key}", recipe[key], f"cannot be said again, as {needed} is not in the recipe")


def _value(key: str, recipe: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    value = recipe[key]
    try:
        if key == "safety_checker":
            return "flag"
        if key in SCHEDULER_KEYS:
            return _scheduler(value, path=f"recipe.{key}")
        if key == "callbacks":
            return [{name: entry[name] for name in entry if name != CODE} for entry in value]
        if key not in MODEL_KEYS:
            return value
        kind = str(FIELDS[key].refers)
        if not isinstance(value, list):
            return _name(value, kind, names)
        return [{**entry, "model": _name(entry["model"], kind, names)} for entry in value]
    except (KeyError, TypeError, AttributeError):
        raise InvalidSpec(f"recipe.{key}", value, "is not as a farm writes it") from None


def _name(digest: str, kind: str, names: Mapping[str, str]) -> str:
    return names.get(model_key(kind, digest)) or names.get(digest, digest)


def _scheduler(said: Mapping[str, Any], *, path: str) -> dict[str, Any]:
    """The name whose preset says most of the options, and the rest of them."""
    options = dict(said["options"])
    able = [kind for kind in SCHEDULERS.values() if kind.diffusers_class == said["class"] and _covers(kind, options)]
    if not able:
        raise InvalidSpec(path, dict(said), "no scheduler of this farm is made so; a newer one may have it")
    best = max(able, key=_likeness(options))
    rest = {
        key: value for key, value in options.items() if key not in best.preset or not _same(best.preset[key], value)
    }
    return {"name": best.name, "options": rest}


def _covers(kind: SchedulerKind, options: Mapping[str, Any]) -> bool:
    """Whether the name leads to these options: it sets none beside them."""
    return set(kind.preset) <= set(options)


def _likeness(options: Mapping[str, Any]) -> Callable[[SchedulerKind], tuple[bool, int]]:
    def rank(kind: SchedulerKind) -> tuple[bool, int]:
        said = sum(_same(options[key], value) for key, value in kind.preset.items())
        return set(options) - set(kind.preset) <= kind.options, said

    return rank


def _same(one: object, other: object) -> bool:
    """Whether two options are spelled alike: to Python 1, 1.0 and true are equal, and hashes tell them apart."""
    return canonical(one) == canonical(other)
