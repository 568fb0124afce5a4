"""From recipes to jobs that render them again. Pure.

One job holds the images of one plan and one set of models: the plan is pinned to its last word, and a model that is
gone takes no image along that does not use it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dispatcher.replaying.originals import Original
from storage.spec import Spec, canonical
from storage.spec.dimension import Table
from storage.spec.fields import FIELDS
from storage.spec.plan import Plan
from storage.spec.recipe import CHECKPOINT, SAFETY_CHECKER, batch_key, model_key
from storage.spec.unrecipe import digests_of, inputs_of, values_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model that can be had: what a job calls it, and where it comes from."""

    name: str
    kind: str
    source: str
    digest: str

    @property
    def key(self) -> str:
        """What the replay's spec knows it by."""
        return model_key(self.kind, self.name)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """One job that renders pictures again; image number n of it is originals[n]."""

    spec: Spec
    plan: Plan
    originals: tuple[Original, ...]
    models: Mapping[str, Model]  # by `model_key`, as the spec names them

    @property
    def sizes(self) -> set[tuple[int, int]]:
        """Widths and heights in pixels."""
        return {(one.recipe["width"], one.recipe["height"]) for one in self.originals}


Able = tuple[Original, Mapping[str, Model]]  # an original, and its models as `used_models` found them


def used_models(recipe: Mapping[str, Any], known: Iterable[Model]) -> tuple[dict[str, Model], list[str]]:
    """The models that a recipe names, by kind and digest, and those of them that nobody knows.

    Args:
        recipe: As `recipe_of` made it.
        known: Of several with one digest the first is taken; names need not be unique.
    """
    by_digest: dict[tuple[str, str], Model] = {}
    for one in known:
        by_digest.setdefault((one.kind, one.digest), one)
    found, missing = {}, []
    for key, digests in digests_of(recipe).items():
        kind = SAFETY_CHECKER if key == "safety_checker" else str(FIELDS[key].refers)
        for digest in digests:
            model = by_digest.get((kind, digest))
            if model is None:
                missing.append(digest)
            else:
                found[model_key(kind, digest)] = model
    found = _named_apart(found)
    base = found.get(str(recipe.get("model")))
    checker = next((key for key, model in found.items() if model.kind == SAFETY_CHECKER), None)
    if base is not None and checker is not None:  # a checker is called as the checkpoint that it comes with
        found[checker] = replace(found[checker], name=base.name)  # its source is its own: the store keeps none
    return found, missing


def _named_apart(found: Mapping[str, Model]) -> dict[str, Model]:
    """The same models, called by their digests where two share a name: a job's and a registered one may."""
    times = Counter(model.key for model in found.values())
    return {
        key: model if times[model.key] == 1 else replace(model, name=model.digest) for key, model in found.items()
    }  # fmt: skip


def grouped(originals: Iterable[Able]) -> list[list[Able]]:
    """Originals that one job can render, together: of one mode, plan and set of models."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[Able]] = {}
    for original, models in originals:
        kind = (original.recipe["mode"], original.plan.hash, tuple(sorted(models)))
        groups.setdefault(kind, []).append((original, models))
    return list(groups.values())


def replay_of(group: Sequence[Able], *, base: Spec, name: str) -> Replay:
    """The job that renders a group again.

    Args:
        group: As `grouped` gave it; not empty.
        base: Says how pictures are encoded, and what is known of input images. Blank ones are kept, as theirs were.
        name: Of the job.
    """
    # Those that can share a pipeline call side by side: a picture alone costs a whole batch of padding.
    originals = tuple(sorted((original for original, _ in group), key=lambda original: batch_key(original.recipe)))
    models = group[0][1]
    names = {key: model.name for key, model in models.items()}
    said = [values_of(original.recipe, names) for original in originals]
    varied = [key for key in FIELDS if len({canonical(values[key]) for values in said}) > 1] or ["seed"]
    rows = tuple(tuple(values[key] for key in varied) for values in said)
    needed = {found for original in originals for found in inputs_of(original.recipe)}
    plan = originals[0].plan
    spec = replace(
        base, name=name, mode=originals[0].recipe["mode"],
        models={model.key: {"source": model.source, "kind": model.kind} for model in models.values()},
        fixed={key: said[0][key] for key in FIELDS if key not in varied},
        dimensions=(Table(tuple(varied), (), rows),), exclude=(), plan=plan.model_dump(), previews=None, sample=None,
        reuse="off", smaller_plans=False, allow_blank=True, parts=(), quality=None, draw=None, sources=(), files={},
        inputs={found: facts for found, facts in base.inputs.items() if found in needed},
    )  # fmt: skip
    return Replay(spec=spec, plan=plan, originals=originals, models={model.key: model for model in models.values()})


def models_of_job(spec: Spec, digests: Mapping[str, str]) -> list[Model]:
    """The models of a job: its names and sources, and the digests that were found when it began."""
    found = []
    for key, digest in digests.items():
        said = spec.models.get(key)
        if said is not None:
            kind = said["kind"]
            name = key if kind == CHECKPOINT else key.removeprefix(f"{kind}:")
            found.append(Model(name=name, kind=kind, source=said["source"], digest=digest))
    return found
