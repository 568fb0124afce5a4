"""Code of an operator's own that a job names: callbacks at every step, a watermark. Known by digest, as models are.

Pure. A worker finds the digests when it resolves the models of the job, and they are kept with those.
"""

from collections.abc import Mapping
from typing import Any, Final

from storage.spec.job import Spec
from storage.spec.recipe import CALLBACK, CODE, model_key

WATERMARK: Final = "watermark"
CODE_KINDS: Final = frozenset({CALLBACK, WATERMARK})

Named = Mapping[str, str]  # source and kind; the source of code is the name of its entry point


def code_of(spec: Spec) -> dict[str, Named]:
    """The code that a job names, by `model_key`."""
    said = [spec.fixed.get("callbacks")]
    for dimension in (*spec.dimensions, *(part.adds for part in spec.parts)):
        if "callbacks" in dimension.keys:
            said += [dimension.at(place).values["callbacks"] for place in range(len(dimension))]
    names = {entry["name"]: CALLBACK for entries in said for entry in entries or ()}
    found: dict[str, Named] = {model_key(kind, name): {"source": name, "kind": kind} for name, kind in names.items()}
    if watermark := spec.output.get("watermark"):
        found[model_key(WATERMARK, watermark)] = {"source": watermark, "kind": WATERMARK}
    return found


def named_by(spec: Spec) -> dict[str, Named]:
    """Everything that a worker finds out about when it resolves the job: its models, scorers among them, and code."""
    return {**spec.models, **code_of(spec)}


def code_in(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the code that drew a picture, by `model_key`; a recipe from before they were recorded has none."""
    said = recipe.get("callbacks", ())
    return {model_key(CALLBACK, entry["name"]): entry[CODE] for entry in said if CODE in entry}


def with_code(recipe: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """The recipe, each callback of which has a digest: its own, else that of `digests`, by `model_key`."""
    whole = dict(recipe)
    if "callbacks" in recipe:
        keys = [(entry, model_key(CALLBACK, entry["name"])) for entry in recipe["callbacks"]]
        whole["callbacks"] = [{CODE: digests[key], **entry} if key in digests else entry for entry, key in keys]
    return whole
