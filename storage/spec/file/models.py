"""The models that a job names: registered names, folders and files of this machine, ids of the hub."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.errors import InvalidSpec, ModelMissing
from storage.models.sources import parse_hub
from storage.spec.dimension import Dimension
from storage.spec.fields import FIELDS, MODEL_KEYS
from storage.spec.file.allowed import Allowed
from storage.spec.recipe import model_key, models_of

MAX_MODELS = 256  # all of them travel with every chunk


def find_models(
    fixed: Mapping[str, Any],
    dimensions: Sequence[Dimension],
    *,
    base: Path,
    allowed: Allowed,
    others: Iterable[tuple[str, str, str]] = (),
) -> dict[str, dict[str, str]]:
    """Every model of a job by `model_key`, with source and kind.

    Args:
        fixed: What is the same for every image.
        dimensions: Axes, zips and rows.
        base: Folder that paths are relative to.
        allowed: What the farm lets a job use.
        others: Key path, kind and name of models that no recipe names: they draw previews, or score pictures.

    Raises:
        InvalidSpec: A name that is nothing here, or that the farm does not take.
    """
    found: dict[str, dict[str, str]] = {}
    for path, values in _bound(fixed, dimensions):
        for kind, name in models_of(values):
            key = model_key(kind, name)
            if key not in found:
                found[key] = {"source": _locate(name, kind=kind, path=path, base=base, allowed=allowed), "kind": kind}
    for path, kind, name in others:
        source = _locate(name, kind=kind, path=path, base=base, allowed=allowed)
        found[model_key(kind, name)] = {"source": source, "kind": kind}
    if len(found) > MAX_MODELS:
        raise InvalidSpec("models", len(found), f"must be at most {MAX_MODELS} in one job")
    return found


def _bound(fixed: Mapping[str, Any], dimensions: Sequence[Dimension]) -> list[tuple[str, dict[str, Any]]]:
    """Where models are named, and what is said there, one key at a time."""
    said = [(key, {key: fixed[key]}) for key in MODEL_KEYS if fixed.get(key)]
    checks = [fixed["safety_checker"]] if "safety_checker" in fixed else ["flag"]
    for dimension in dimensions:
        keys = [key for key in dimension.keys if key in MODEL_KEYS]
        for place in range(len(dimension)) if keys else ():
            values = dimension.at(place).values
            said += [(f"axes.{key}", {key: values[key]}) for key in keys if values[key]]
    if "flag" in checks:
        said += [("safety_checker", {**values, "safety_checker": "flag"}) for _, values in said if "model" in values]
    return said


def _locate(name: str, *, kind: str, path: str, base: Path, allowed: Allowed) -> str:
    """Source of a model by its name in the file."""
    wanted = FIELDS["model"].refers if kind == "safety_checker" else kind
    known = allowed.find_model(name)
    if known is not None and known.kind != wanted:
        raise InvalidSpec(path, name, f"is registered as {known.kind}, and {wanted} is needed here")
    if known is not None:
        return known.source
    here = _lies_here(name, base=base, path=path)
    if here is None and not _is_hub_id(name, path=path):
        place = (base / Path(name).expanduser()).resolve()
        rule = f"no such name in 'farm model ls', no folder or file {place}, and no hub id such as owner/name@revision"
        raise InvalidSpec(path, name, rule)
    if not allowed.unregistered_models:
        rule = f"is not registered on this farm; 'farm model add NAME {here or name}' does it, then use NAME"
        raise InvalidSpec(path, name, rule)
    return here or name


def _is_hub_id(name: str, *, path: str) -> bool:
    try:
        return parse_hub(name) is not None
    except ModelMissing as error:
        raise InvalidSpec(path, name, error.args[1]) from None


def _lies_here(name: str, *, base: Path, path: str) -> str | None:
    try:
        place = (base / Path(name).expanduser()).resolve()
        return str(place) if place.exists() else None
    except (OSError, RuntimeError) as error:  # a name that is too long, a ring of links, a ~user who is not there
        raise InvalidSpec(path, name, f"cannot be looked up: {error}") from None
