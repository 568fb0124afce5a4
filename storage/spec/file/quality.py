"""The `quality:` section of a job file: checked key by key, then held against the rest of the job.

Its stored form is told in `storage.spec.quality`.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from storage.errors import InvalidSpec, nearest
from storage.spec.dimension import Dimension, leaves
from storage.spec.fields import FIELDS, UNCONDITIONAL
from storage.spec.kinds import ModelName, Number, Text
from storage.spec.quality import FLAGS, NEXT_SEED, SCORERS, TRIES

_REJECTING = (*FLAGS, "exact_duplicate", "near_duplicate")
_OF_SUCCESSORS = ("accept", "per", "tries")
_DEFAULT_CELL = ("prompt",)


def _cosine(bound: float) -> float:
    if not -1 <= bound <= 1:
        raise ValueError("must be from -1 to 1: the score is a cosine, not a hundred times one")
    return bound


def _probability(bound: float) -> float:
    if not 0 <= bound <= 1:
        raise ValueError("must be from 0 to 1: the score is a probability")
    return bound


def _named(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping such as {model: FOLDER, below: NUMBER}")
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Reject = Literal["reject"]
Cosine = Annotated[Number, AfterValidator(_cosine)]
Probability = Annotated[Number, AfterValidator(_probability)]
Keys = Annotated[
    list[str],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NearDuplicate(_Strict):
    """Pictures that look alike."""

    distance: int = Field(ge=0, le=16, description="of 64 bits, in which two perceptual hashes may differ")


class Scorer(_Strict):
    """What a model gives a picture: a number, and what of it rejects. Without a bound it is measured only."""

    model: ModelName = Field(description="a folder, or a name of 'farm model ls'")
    below: Number | None = Field(default=None, description="a lower score rejects")
    above: Number | None = Field(default=None, description="a higher score rejects")

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.below is not None and self.above is not None and self.below > self.above:
            raise ValueError("below must not be larger than above; every score would be rejected")
        return self


class ClipScorer(Scorer):
    """How well a picture fits its prompt: a cosine, -1 to 1."""

    below: Cosine | None = None
    above: Cosine | None = None


class SafetyScorer(Scorer):
    """How likely a picture is unsafe: a probability, 0 to 1."""

    below: Probability | None = None
    above: Probability | None = None
    label: Text | None = Field(default=None, description="of the model; silent: its first that says nsfw or the like")


class Quality(_Strict):
    """What is measured of every picture, what rejects it, and what follows."""

    low_variance: Reject | None = Field(default=None, description="hardly anything to see")
    nsfw: Reject | None = Field(default=None, description="the model's own safety checker found something")
    truncated: Reject | None = Field(default=None, description="the prompt was not read to its end")
    exact_duplicate: Reject | None = Field(default=None, description="pixels of an image that comes before it")
    near_duplicate: NearDuplicate | None = None
    clip: Annotated[ClipScorer, BeforeValidator(_named)] | None = None
    aesthetic: Annotated[Scorer, BeforeValidator(_named)] | None = None
    safety: Annotated[SafetyScorer, BeforeValidator(_named)] | None = None
    on_reject: Literal["keep", "next_seed"] = Field(
        default="keep", description="keep: rejected images stay and are marked; next_seed: another seed follows as well"
    )
    accept: int | None = Field(default=None, ge=1, le=10**9, description="images that every cell is to have")
    per: Keys | None = Field(default=None, description="recipe keys and labels that make a cell; silent: prompt")
    tries: int | None = Field(default=None, ge=1, le=1000, description="renderings of one place at most; silent: 5")


MAPPINGS: Mapping[str, type[BaseModel]] = {
    "quality": Quality, "near_duplicate": NearDuplicate, "clip": ClipScorer, "aesthetic": Scorer,
    "safety": SafetyScorer,
}  # fmt: skip


def freeze_quality(
    said: Quality | None, *, mode: str, fixed: Mapping[str, Any], dimensions: list[Dimension]
) -> dict[str, Any] | None:
    """Bring the section to its stored form.

    Args:
        said: As parsed; None: the file has none.
        mode: Of the job.
        fixed: What is the same for every image.
        dimensions: Axes, zips and rows.

    Returns:
        See `storage.spec.quality`.

    Raises:
        InvalidSpec: It contradicts itself, or the rest of the job.
    """
    if said is None:
        return None
    _check_successors(said)
    if said.clip is not None and mode == UNCONDITIONAL:
        raise InvalidSpec("quality.clip", None, f"mode {mode} has no prompt to hold a picture against; take it out")
    axes = {key for dimension in dimensions for key in dimension.keys}
    if said.nsfw is not None and fixed.get("safety_checker") != "flag" and "safety_checker" not in axes:
        rule = "finds nothing without the model's safety checker; add safety_checker: flag, or use quality.safety"
        raise InvalidSpec("quality.nsfw", said.nsfw, rule)
    stored = said.model_dump(exclude_none=True)
    if stored.pop("on_reject") == NEXT_SEED:
        stored |= {"on_reject": NEXT_SEED, "tries": TRIES if said.tries is None else said.tries}
    if said.accept is not None:
        stored["per"] = _cell(_DEFAULT_CELL if said.per is None else said.per, dimensions)
    return stored or None


def quality_models(said: Quality | None) -> Iterator[tuple[str, str, str]]:
    """Key path, kind and name of every model that measures."""
    for name in SCORERS if said is not None else ():
        entry: Scorer | None = getattr(said, name)
        if entry is not None:
            yield f"quality.{name}.model", name, entry.model


def _check_successors(said: Quality) -> None:
    """Refuse words about successors where there can be none."""
    for key in _OF_SUCCESSORS if said.on_reject != NEXT_SEED else ():
        if getattr(said, key) is not None:
            rule = "does nothing without on_reject: next_seed; add it, or take this out"
            raise InvalidSpec(f"quality.{key}", getattr(said, key), rule)
    if said.per is not None and said.accept is None:
        rule = "does nothing without accept, which says how many images a cell is to have; add it, or take this out"
        raise InvalidSpec("quality.per", said.per, rule)
    bounds = [entry for entry in (said.clip, said.aesthetic, said.safety) if entry is not None]
    rejects = any(getattr(said, key) is not None for key in _REJECTING)
    rejects |= any(entry.below is not None or entry.above is not None for entry in bounds)
    if said.on_reject == NEXT_SEED and not rejects:
        rule = "nothing here rejects an image; add low_variance: reject, or below or above to a scorer"
        raise InvalidSpec("quality.on_reject", NEXT_SEED, rule)


def _cell(keys: list[str] | tuple[str, ...], dimensions: list[Dimension]) -> list[str]:
    """What makes a cell; the order does not count."""
    labels = {label for leaf in leaves(dimensions) for label in leaf.at(0).labels}
    for place, key in enumerate(keys):
        if key == "seed":
            raise InvalidSpec(f"quality.per[{place}]", key, "a successor has another seed; name other keys")
        if key not in FIELDS and key not in labels:
            known = labels | (FIELDS.keys() - {"seed"})
            raise InvalidSpec(f"quality.per[{place}]", key, f"no recipe key or label; {nearest(key, known)}")
    return sorted(set(keys))
