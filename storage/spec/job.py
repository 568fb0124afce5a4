"""A job: a frozen spec, counted and indexed, never listed.

An image's number is its place in declared order; its position is its place in render order. A job that was extended
has several products: numbers and positions of each follow those of the one before it, so that extending a job
changes neither for any image that it had.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

from storage.spec.canonical import digest
from storage.spec.dimension import Dimension, from_json
from storage.spec.exclusion import Clause
from storage.spec.number import place_of, seed_of_take, take_of
from storage.spec.part import Part, walk
from storage.spec.product import Place, Product
from storage.spec.recipe import ModelFacts, recipe_of

__all__ = ["Job", "Place", "Spec"]
SPEC_SCHEMA = 2  # 1 knew models by their source alone


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
    sample: int | None = None  # render only that many of each product, spread evenly
    allow_blank: bool = False  # a picture of one single colour is no failure
    reuse: str = "same-plan"  # see storage.states.Reuse
    smaller_plans: bool = False  # a device that cannot hold the plan may render by a smaller one
    parts: tuple[Part, ...] = ()  # that it was extended by; the other entries are theirs too
    quality: Mapping[str, Any] | None = None  # what is measured of a picture, and what rejects it
    draw: Mapping[str, int] | None = None  # count and seed: a random sample of a product that is too large
    sources: tuple[Mapping[str, Any], ...] = ()  # files and folders that values were read from: name, sha256
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by hash: name, width, height, bytes
    files: Mapping[str, str] = field(default_factory=dict, compare=False)  # hash -> path here; not part of the text

    def to_json(self) -> dict[str, Any]:
        """The whole spec as plain JSON."""
        since_schema_2: dict[str, Any] = {} if self.reuse == "same-plan" else {"reuse": self.reuse}
        since_schema_2 |= {"smaller_plans": True} if self.smaller_plans else {}
        since_schema_2 |= {"parts": [part.to_json() for part in self.parts]} if self.parts else {}
        since_schema_2 |= {"quality": dict(self.quality)} if self.quality is not None else {}
        since_schema_2 |= {"draw": dict(self.draw)} if self.draw is not None else {}
        since_schema_2 |= {"sources": [dict(source) for source in self.sources]} if self.sources else {}
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
        own = ("schema", "dimensions", "exclude", "parts", "sources")
        rest = {key: value for key, value in entry.items() if key not in own}
        dimensions = tuple(from_json(dimension) for dimension in entry["dimensions"])
        parts = tuple(Part.from_json(part) for part in entry.get("parts", ()))
        sources = tuple(entry.get("sources", ()))
        return cls(**rest, dimensions=dimensions, exclude=tuple(entry["exclude"]), parts=parts, sources=sources)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical spelling."""
        return digest(self.to_json())


class Job:
    """The images of a spec. `len(job)` counts places, `job[n]` is the place with number n."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        products: list[Product] = []
        for factors in walk(spec.dimensions, spec.parts):
            first = products[-1].first + len(products[-1]) if products else 0
            products.append(
                Product(
                    factors, fixed=spec.fixed, exclude=spec.exclude, sample=spec.sample, draw=spec.draw, first=first
                )
            )  # fmt: skip
        self.products = tuple(products)  # the one that the job began with, then one a part
        self._firsts = [product.first for product in products]
        self._ends = list(accumulate(product.positions for product in products))

    def __len__(self) -> int:
        return self._firsts[-1] + len(self.products[-1])

    def __getitem__(self, number: int) -> Place | None:
        """The image with that number; None where the job leaves the place empty. Raises IndexError past the end.

        A take of an image (see `storage.spec.number`) is that image with a seed of its own.
        """
        if number < 0 or place_of(number) >= len(self):
            raise IndexError(number)
        product = self.products[bisect_right(self._firsts, place_of(number)) - 1]
        place, take = product.place(place_of(number) - product.first), take_of(number)
        if place is None or take == 0:
            return place
        values = {**place.values, "seed": seed_of_take(place.values["seed"], take=take)}
        return replace(place, number=number, values=values)

    def __iter__(self) -> Iterator[Place | None]:
        return (self[number] for number in range(len(self)))

    @cached_property
    def refiners(self) -> frozenset[str]:
        """Names of the checkpoints that finish other models' pictures."""
        said = [self.spec.fixed.get("refiner")]
        for dimension in (*self.spec.dimensions, *(part.adds for part in self.spec.parts)):
            if "refiner" in dimension.keys:
                said += [dimension.at(place).values["refiner"] for place in range(len(dimension))]
        return frozenset(name for name in said if name is not None)

    @property
    def positions(self) -> int:
        """How many positions the render order has; with a sample, what it leaves of them."""
        return self._ends[-1]

    @property
    def company(self) -> int:
        """How many neighbours in render order may share a pipeline call, see `Product.company`.

        Of what the job began with: its plan was chosen by that, and stays.
        """
        return self.products[0].company

    @cached_property
    def images(self) -> int:
        """How many images will be rendered: positions less empty places."""
        return sum(product.images for product in self.products)

    def number_at(self, position: int) -> int:
        """The number of the image that comes at `position` in render order."""
        counted = range(self.positions)[position]
        part = bisect_right(self._ends, counted)
        product = self.products[part]
        return product.first + product.index_at(counted - (self._ends[part - 1] if part else 0))

    def recipe(self, place: Place, models: Mapping[str, ModelFacts]) -> dict[str, Any]:
        """What decides the picture; see `recipe_of`."""
        return recipe_of(self.spec.mode, place.values, models)
