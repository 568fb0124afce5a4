"""A job: a frozen spec, counted and indexed, never listed.

An image's number is its place in declared order, the last dimension turning fastest. Its position is its place in
render order, where what is dear to change (model, size, scheduler) turns slowest. Both are mixed-radix numbers over
the same dimensions, so either is found from the other in as many steps as there are dimensions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any

from storage.spec.canonical import digest, seed_from
from storage.spec.dimension import Derived, Dimension, from_json, total
from storage.spec.exclusion import Clause, excluded_count, is_excluded
from storage.spec.fields import FIELDS, Cost
from storage.spec.recipe import ModelFacts, recipe_of

SPEC_SCHEMA = 2  # 1 knew models by their source alone
PROBED_PLACES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One image as the job states it; a model by the name in the job file, a silent size as None."""

    number: int
    values: Mapping[str, Any]  # every key of FIELDS
    labels: Mapping[str, str]
    replicate: int | None = None  # which of the derived seeds, where seeds are derived


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """The frozen text of a job. Equal content has one hash, wherever it was written."""

    name: str
    mode: str
    models: Mapping[str, Mapping[str, str]]  # by `model_key`: source (folder, file, hub id or store:digest) and kind
    fixed: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]
    exclude: tuple[Clause, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)  # what the job pins
    previews: Mapping[str, Any] | None = None
    output: Mapping[str, Any] = field(default_factory=lambda: {"format": "png"})
    sample: int | None = None  # render only that many, spread evenly
    allow_blank: bool = False  # a picture of one single colour is no failure
    reuse: str = "same-plan"  # see storage.states.Reuse
    smaller_plans: bool = False  # a device that cannot hold the plan may render by a smaller one
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by hash: name, width, height, bytes
    files: Mapping[str, str] = field(default_factory=dict, compare=False)  # hash -> path here; not part of the text

    def to_json(self) -> dict[str, Any]:
        """The whole spec as plain JSON."""
        since_schema_2: dict[str, Any] = {} if self.reuse == "same-plan" else {"reuse": self.reuse}
        since_schema_2 |= {"smaller_plans": True} if self.smaller_plans else {}
        return {
            "schema": SPEC_SCHEMA, "name": self.name, "mode": self.mode,
            "models": {name: dict(model) for name, model in self.models.items()},
            "fixed": dict(self.fixed), "dimensions": [dimension.to_json() for dimension in self.dimensions],
            "exclude": [dict(clause) for clause in self.exclude], "plan": dict(self.plan),
            "previews": self.previews, "output": dict(self.output), "sample": self.sample,
            "allow_blank": self.allow_blank, "inputs": {key: dict(facts) for key, facts in self.inputs.items()},
            **since_schema_2,  # only where said: the hashes of older specs stay
        }  # fmt: skip

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Spec":
        """Read back what `to_json` gave. Raises ValueError for another schema."""
        if entry["schema"] != SPEC_SCHEMA:
            raise ValueError(f"spec has schema {entry['schema']}, this farm reads {SPEC_SCHEMA}")
        rest = {key: value for key, value in entry.items() if key not in ("schema", "dimensions", "exclude")}
        dimensions = tuple(from_json(dimension) for dimension in entry["dimensions"])
        return cls(**rest, dimensions=dimensions, exclude=tuple(entry["exclude"]))

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical spelling."""
        return digest(self.to_json())


class Job:
    """The images of a spec. `len(job)` counts places, `job[n]` is the place with number n."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._places = total(spec.dimensions)
        self._dearest = [min(FIELDS[key].cost for key in dimension.keys) for dimension in spec.dimensions]
        self._strides = _strides(spec.dimensions)
        self._derived = _find_derived(spec.dimensions)
        render_order = sorted(range(len(spec.dimensions)), key=self._dearest.__getitem__)
        self._render_order = render_order

    def __len__(self) -> int:
        return self._places

    def __getitem__(self, number: int) -> Place | None:
        """The image with that number; None where the job leaves the place empty. Raises IndexError past the end."""
        rest = range(self._places)[number]
        bindings = []
        for dimension, stride in zip(self.spec.dimensions, self._strides, strict=True):
            digit, rest = divmod(rest, stride)
            bindings.append(dimension.at(digit))
        if is_excluded(bindings, self.spec.exclude):
            return None
        values = {**self.spec.fixed, **{key: value for binding in bindings for key, value in binding.values.items()}}
        labels = {name: text for binding in bindings for name, text in binding.labels.items()}
        replicate = values["seed"] if self._derived is not None else None
        if self._derived is not None:
            values["seed"] = _derived_seed(self._derived, values)
        return Place(number=range(self._places)[number], values=values, labels=labels, replicate=replicate)

    def __iter__(self) -> Iterator[Place | None]:
        return (self[number] for number in range(self._places))

    @cached_property
    def refiners(self) -> frozenset[str]:
        """Names of the checkpoints that finish other models' pictures."""
        said = [self.spec.fixed.get("refiner")]
        for dimension in self.spec.dimensions:
            if "refiner" in dimension.keys:
                said += [dimension.at(place).values["refiner"] for place in range(len(dimension))]
        return frozenset(name for name in said if name is not None)

    @property
    def positions(self) -> int:
        """How many positions the render order has; with a sample, its size."""
        return self._places if self.spec.sample is None else min(self.spec.sample, self._places)

    @property
    def company(self) -> int:
        """How many neighbours in render order may share a pipeline call: same model, size, scheduler and so on.

        Exact where axes stand alone. A table or zip that binds such a key beside a prompt is judged by its first rows.
        """
        inner = [axis for axis in self._render_order if self._dearest[axis] == Cost.IMAGE]
        alike = prod(len(self.spec.dimensions[axis]) for axis in inner)
        outer = self._render_order[: len(self._render_order) - len(inner)]
        return alike * (_usual_run(self.spec.dimensions[outer[-1]]) if outer else 1)

    @cached_property
    def images(self) -> int:
        """How many images will be rendered: positions less empty places."""
        if self.spec.sample is not None and self.spec.exclude:
            return sum(self[self.number_at(position)] is not None for position in range(self.positions))
        return self.positions - excluded_count(self.spec.dimensions, self.spec.exclude)

    def number_at(self, position: int) -> int:
        """The number of the image that comes at `position` in render order."""
        rest = range(self.positions)[position]
        if self.spec.sample is not None:
            rest = rest * self._places // self.positions
        number = 0
        for axis in reversed(self._render_order):
            rest, digit = divmod(rest, len(self.spec.dimensions[axis]))
            number += digit * self._strides[axis]
        return number

    def recipe(self, place: Place, models: Mapping[str, ModelFacts]) -> dict[str, Any]:
        """What decides the picture; see `recipe_of`."""
        return recipe_of(self.spec.mode, place.values, models)


def _strides(dimensions: tuple[Dimension, ...]) -> list[int]:
    strides, stride = [], 1
    for dimension in reversed(dimensions):
        strides.append(stride)
        stride *= len(dimension)
    return strides[::-1]


def _usual_run(dimension: Dimension) -> int:
    """How many places in a row bind the same dear keys, on average; 1 if every place changes them."""
    dear = [key for key in dimension.keys if FIELDS[key].cost < Cost.IMAGE]
    if len(dear) == len(dimension.keys):
        return 1
    probed = range(min(len(dimension), PROBED_PLACES))
    bound = [digest([dimension.at(place).values[key] for key in dear]) for place in probed]
    return len(bound) // sum(1 for _ in groupby(bound))


def _find_derived(dimensions: tuple[Dimension, ...]) -> Derived | None:
    parts = [part for dimension in dimensions for part in getattr(dimension, "parts", (dimension,))]
    return next((part for part in parts if isinstance(part, Derived)), None)


def _derived_seed(dimension: Derived, values: Mapping[str, Any]) -> int:
    over = {key: values.get(key) for key in dimension.over}
    return seed_from({"job_seed": dimension.job_seed, "over": over, "replicate": values["seed"]})
