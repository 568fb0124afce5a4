"""The places of one product, counted and indexed, never listed.

A place's number counts in declared order, the last factor turning fastest. Its position counts in render order, where
what is dear to change (model, size, scheduler) turns slowest. Both are mixed-radix numbers over the same factors, so
either is found from the other in as many steps as there are factors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any

from storage.spec.canonical import digest, seed_from
from storage.spec.dimension import Derived, Factor, find_template, leaves, total
from storage.spec.draw import Draw
from storage.spec.exclusion import Clause, excluded_count, is_excluded
from storage.spec.fields import FIELDS, Cost

PROBED_PLACES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One image as the job states it; a model by the name in the job file, a silent size as None."""

    number: int
    values: Mapping[str, Any]  # every key of FIELDS
    labels: Mapping[str, str]
    replicate: int | None = None  # which of the derived seeds, where seeds are derived
    template: str | None = None  # that the prompt was made of, with its {names}


class Product:
    """The places of some factors, numbered from `first` on. What speaks of a place here counts from 0."""

    def __init__(
        self, factors: Sequence[Factor], *, fixed: Mapping[str, Any], exclude: Sequence[Clause],
        sample: int | None = None, draw: Mapping[str, int] | None = None, first: int = 0,
    ) -> None:  # fmt: skip
        """Take what a spec says.

        Args:
            factors: In declared order.
            fixed: What is the same for every image.
            exclude: Clauses; a place that one of them names in full is empty.
            sample: Render only that many, spread evenly.
            draw: `count` and `seed` of a random sample: the product then has these places alone, in render order.
            first: Number of the first place.
        """
        self.factors = tuple(factors)
        self.first = first
        self._fixed = fixed
        self._exclude = exclude
        self._sample = sample
        self._all = total(self.factors)
        self._draw = None if draw is None else Draw(draw["count"], draw["seed"], self._all)
        self._places = self._all if self._draw is None else len(self._draw)
        self._strides = _strides(self.factors)
        self._derived = find_derived(self.factors)
        self._dearest = [min(FIELDS[key].cost for key in factor.keys) for factor in self.factors]
        self._render_order = sorted(range(len(self.factors)), key=self._dearest.__getitem__)

    def __len__(self) -> int:
        return self._places

    def place(self, index: int) -> Place | None:
        """The place with that index; None where it is left empty."""
        bindings = [factor.at(digit) for factor, digit in zip(self.factors, self.digits(index), strict=True)]
        if is_excluded(bindings, self._exclude):
            return None
        values = {**self._fixed, **{key: value for binding in bindings for key, value in binding.values.items()}}
        labels = {name: text for binding in bindings for name, text in binding.labels.items()}
        replicate = values["seed"] if self._derived is not None else None
        if self._derived is not None:
            values["seed"] = _derived_seed(self._derived, values)
        template = find_template(bindings)
        return Place(number=self.first + index, values=values, labels=labels, replicate=replicate, template=template)

    def digits(self, index: int) -> list[int]:
        """Which place of each factor the place with that index is made of."""
        rest, digits = index if self._draw is None else self._rendered_at(self._draw[index]), []
        for stride in self._strides:
            digit, rest = divmod(rest, stride)
            digits.append(digit)
        return digits

    @property
    def is_drawn(self) -> bool:
        """Whether it has a sample of the places alone."""
        return self._draw is not None

    @property
    def positions(self) -> int:
        """How many positions the render order has; with a sample, its size."""
        return self._places if self._sample is None else min(self._sample, self._places)

    @cached_property
    def images(self) -> int:
        """How many images will be rendered: positions less empty places."""
        if self._exclude and (self._sample is not None or self._draw is not None):
            return sum(self._is_filled(self.index_at(position)) for position in range(self.positions))
        if self._draw is not None:
            return self.positions
        return self.positions - excluded_count(self.factors, self._exclude)

    @property
    def company(self) -> int:
        """How many neighbours in render order may share a pipeline call: same model, size, scheduler and so on.

        Exact where axes stand alone. A table or zip that binds such a key beside a prompt is judged by its first rows.
        """
        inner = [axis for axis in self._render_order if self._dearest[axis] == Cost.IMAGE]
        alike = prod(len(self.factors[axis]) for axis in inner)
        outer = self._render_order[: len(self._render_order) - len(inner)]
        return max(1, alike * (_usual_run(self.factors[outer[-1]]) if outer else 1) * self._places // self._all)

    def index_at(self, position: int) -> int:
        """The index of the place that comes at `position` in render order."""
        place = position if self._sample is None else position * self._places // self.positions
        return place if self._draw is not None else self._rendered_at(place)

    def _is_filled(self, index: int) -> bool:
        bindings = [factor.at(digit) for factor, digit in zip(self.factors, self.digits(index), strict=True)]
        return not is_excluded(bindings, self._exclude)

    def _rendered_at(self, place: int) -> int:
        """The index, among all places, of the one that comes there in render order."""
        rest, index = place, 0
        for axis in reversed(self._render_order):
            rest, digit = divmod(rest, len(self.factors[axis]))
            index += digit * self._strides[axis]
        return index


def find_derived(factors: Sequence[Factor]) -> Derived | None:
    """How these factors derive seeds, if they do."""
    return next((leaf for leaf in leaves(factors) if isinstance(leaf, Derived)), None)


def _strides(factors: Sequence[Factor]) -> list[int]:
    strides, stride = [], 1
    for factor in reversed(factors):
        strides.append(stride)
        stride *= len(factor)
    return strides[::-1]


def _usual_run(factor: Factor) -> int:
    """How many places in a row bind the same dear keys, on average; 1 if every place changes them."""
    dear = [key for key in factor.keys if FIELDS[key].cost < Cost.IMAGE]
    if len(dear) == len(factor.keys):
        return 1
    probed = range(min(len(factor), PROBED_PLACES))
    bound = [digest([factor.at(place).values[key] for key in dear]) for place in probed]
    return len(bound) // sum(1 for _ in groupby(bound))


def _derived_seed(dimension: Derived, values: Mapping[str, Any]) -> int:
    over = {key: values.get(key) for key in dimension.over}
    return seed_from({"job_seed": dimension.job_seed, "over": over, "replicate": values["seed"]})
