"""What a job wants of its pictures: the stored form of `quality:`, and the rules in it that judge. Pure.

`Spec.quality` is None for a job that says nothing of it, else plain JSON with the keys that say something:

    low_variance, nsfw, truncated   "reject"                      each flag of FLAGS that rejects
    exact_duplicate                 "reject"
    near_duplicate                  {"distance": int}             0 to 16 of 64 bits
    clip, aesthetic                 {"model": str, "below"?: float, "above"?: float}
    safety                          {"model": str, "label"?: str, "below"?: float, "above"?: float}
    on_reject                       "next_seed"                   absent: rejected images stay and are marked
    accept                          int                           absent: every place is to be filled
    per                             [str, ...]                    with `accept` only, and then always; sorted
    tries                           int                           with `on_reject` only, and then always

`model` is what the job file says; `Spec.models` has it under `model_key(scorer, model)`, of the kind that is the
scorer's name. A scorer without a bound is measured and rejects nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from storage.spec.dimension import Factor
from storage.spec.job import Spec

FLAGS: Final = ("low_variance", "nsfw", "truncated")  # of storage.wire.messages.FLAGS: what is known of every picture
SCORERS: Final = ("clip", "aesthetic", "safety")  # names of scores, and kinds of the models that give them
NEXT_SEED: Final = "next_seed"
TRIES: Final = 5
_COUNTED: Final = 100_000  # places of one axis or table that are looked at to count cells

Bounds = tuple[float | None, float | None]  # a score below the first or above the second rejects


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What judges the pictures of a job, and what follows."""

    flags: frozenset[str]  # flags that reject
    exact: bool  # the pixels of an image that comes before it reject
    distance: int | None  # so do perceptual hashes that differ in at most so many of 64 bits; None: nothing near does
    bounds: Mapping[str, Bounds]  # by scorer; those without a bound are not there
    next_seed: bool  # whether rejected images get successors
    accept: int | None  # images that a cell is to have; None: every place is a cell of one
    per: tuple[str, ...] | None  # recipe keys and labels that make a cell, (): the job is one; None: see `accept`
    tries: int  # renderings of one place at most, the first included: takes 0 to tries - 1

    @classmethod
    def of(cls, spec: Spec) -> "Rules | None":
        """The rules of a job; None if it says nothing of quality."""
        said = spec.quality
        if said is None:
            return None
        bounds = {name: (entry.get("below"), entry.get("above")) for name, entry in scorers_of(spec).items()}
        return cls(
            flags=frozenset(flag for flag in FLAGS if flag in said),
            exact="exact_duplicate" in said,
            distance=said["near_duplicate"]["distance"] if "near_duplicate" in said else None,
            bounds={name: pair for name, pair in bounds.items() if pair != (None, None)},
            next_seed=said.get("on_reject") == NEXT_SEED,
            accept=said.get("accept"),
            per=tuple(said["per"]) if "per" in said else None,
            tries=said.get("tries", 1),
        )

    @property
    def can_reject(self) -> bool:
        """Whether any picture can break them."""
        return bool(self.flags or self.exact or self.distance is not None or self.bounds)


def scorers_of(spec: Spec) -> dict[str, Mapping[str, Any]]:
    """What measures the pictures of a job, by name, in the order of SCORERS."""
    said = spec.quality or {}
    return {name: said[name] for name in SCORERS if name in said}


def most_of_a_cell(spec: Spec) -> int | None:
    """How many images a cell can have at most, by what the job declares.

    None: the job has no cells, was extended, or is too large to tell at once.
    """
    per = (spec.quality or {}).get("per")
    if per is None or spec.parts:
        return None
    found = 1
    for factor in spec.dimensions:
        count = _most_alike(factor, per)
        if count is None:
            return None
        found *= count
    return found if spec.draw is None else min(found, spec.draw["count"])


def _most_alike(factor: Factor, per: list[str]) -> int | None:
    """How many places of an axis or table say the same of the keys and labels in `per`; None: too many to tell."""
    first = factor.at(0)
    if not {*first.values, *first.labels} & {*per}:
        return len(factor)
    if len(factor) > _COUNTED:
        return None
    said = (factor.at(place) for place in range(len(factor)))
    return max(Counter(tuple(str({**one.values, **one.labels}.get(key)) for key in per) for one in said).values())
