"""The factors of a job's product, counted and indexed without being listed.

A dimension binds one or more recipe keys (and labels) at each of its places. All of them are plain data and go
into the frozen spec as tagged JSON. A factor of several of them in a row is made from a spec and never stands in one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, Protocol

from storage.spec.template import render


@dataclass(frozen=True, slots=True)
class Binding:
    """What one place of a dimension says."""

    values: Mapping[str, Any]  # recipe keys
    labels: Mapping[str, str]  # kept with the image, not part of the recipe
    template: str | None = None  # that the prompt was made of, as it was written


def find_template(bindings: Iterable[Binding]) -> str | None:
    """The template of the prompt, if one of these has it."""
    return next((binding.template for binding in bindings if binding.template is not None), None)


class Factor(Protocol):
    """One factor of a product."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The recipe keys it binds."""

    def __len__(self) -> int: ...

    def at(self, place: int) -> Binding:
        """What place `place` binds, in constant time."""


class Dimension(Factor, Protocol):
    """A factor as a frozen spec holds it."""

    def to_json(self) -> dict[str, Any]:
        """Its entry in the frozen spec."""


@dataclass(frozen=True, slots=True)
class Values:
    """One key, a list of values."""

    key: str
    values: tuple[Any, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def __len__(self) -> int:
        return len(self.values)

    def at(self, place: int) -> Binding:
        return Binding({self.key: self.values[place]}, {})

    def to_json(self) -> dict[str, Any]:
        return {"kind": "values", "key": self.key, "values": list(self.values)}


@dataclass(frozen=True, slots=True)
class Span:
    """One key, whole numbers in a row."""

    key: str
    start: int
    count: int
    step: int

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def __len__(self) -> int:
        return self.count

    def __contains__(self, value: object) -> bool:
        return value in range(self.start, self.start + self.step * self.count, self.step)

    def at(self, place: int) -> Binding:
        return Binding({self.key: self.start + self.step * place}, {})

    def to_json(self) -> dict[str, Any]:
        return {"kind": "span", "key": self.key, "start": self.start, "count": self.count, "step": self.step}


@dataclass(frozen=True, slots=True)
class Derived:
    """Seeds by replicate; the job computes them, since they depend on the other dimensions."""

    count: int
    over: tuple[str, ...]
    job_seed: int
    start: int = 0  # the first replicate; an extension goes on where the job ended
    key: str = "seed"

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def __len__(self) -> int:
        return self.count

    def at(self, place: int) -> Binding:
        return Binding({self.key: self.start + place}, {})  # the replicate; Product turns it into the seed

    def to_json(self) -> dict[str, Any]:
        later = {"start": self.start} if self.start else {}
        return {"kind": "derived", "count": self.count, "over": list(self.over), "job_seed": self.job_seed, **later}


@dataclass(frozen=True, slots=True)
class Template:
    """A text with names, see `storage.spec.template`; the last name turns fastest. Names become labels."""

    key: str
    template: str
    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]  # one list a name

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def __len__(self) -> int:
        return prod(len(values) for values in self.values)

    def at(self, place: int) -> Binding:
        chosen: dict[str, str] = {}
        for name, values in zip(reversed(self.names), reversed(self.values), strict=True):
            place, digit = divmod(place, len(values))
            chosen[name] = values[digit]
        labels = {name: chosen[name] for name in self.names}
        template = self.template if self.key == "prompt" else None
        return Binding({self.key: render(self.template, labels)}, labels, template)

    def to_json(self) -> dict[str, Any]:
        lists = [[name, list(values)] for name, values in zip(self.names, self.values, strict=True)]
        return {"kind": "template", "key": self.key, "template": self.template, "values": lists}


@dataclass(frozen=True, slots=True)
class Zipped:
    """Several dimensions of one length, walked together."""

    parts: tuple[Dimension, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key for part in self.parts for key in part.keys)

    def __len__(self) -> int:
        return len(self.parts[0])

    def at(self, place: int) -> Binding:
        bindings = [part.at(place) for part in self.parts]
        values = {key: value for binding in bindings for key, value in binding.values.items()}
        labels = {name: text for binding in bindings for name, text in binding.labels.items()}
        return Binding(values, labels, find_template(bindings))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "zip", "parts": [part.to_json() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class Table:
    """A row source: columns for recipe keys, columns for labels."""

    keys_: tuple[str, ...]
    labels: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]  # keys first, then labels
    template: str | None = None  # that the prompts were made of: rows of a zip that has one

    @property
    def keys(self) -> tuple[str, ...]:
        return self.keys_

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, place: int) -> Binding:
        row = self.rows[place]
        width = len(self.keys_)
        values = dict(zip(self.keys_, row[:width], strict=True))
        return Binding(values, dict(zip(self.labels, row[width:], strict=True)), self.template)

    def to_json(self) -> dict[str, Any]:
        rows = [list(row) for row in self.rows]
        made_of = {} if self.template is None else {"template": self.template}
        return {"kind": "table", "keys": list(self.keys_), "labels": list(self.labels), "rows": rows, **made_of}


class Chain:
    """Dimensions of the same keys, one after the other: an axis that has grown."""

    def __init__(self, pieces: Sequence[Dimension]) -> None:
        """Keep at least one piece."""
        self.pieces = tuple(pieces)
        self._ends = tuple(accumulate(len(piece) for piece in pieces))

    @property
    def keys(self) -> tuple[str, ...]:
        return self.pieces[0].keys

    def __len__(self) -> int:
        return self._ends[-1]

    def at(self, place: int) -> Binding:
        piece = bisect_right(self._ends, place)
        return self.pieces[piece].at(place - (self._ends[piece - 1] if piece else 0))


def leaves(factors: Sequence[Factor]) -> Iterator[Factor]:
    """Every factor that binds keys itself: what stands in a chain or a zip, one by one."""
    for factor in factors:
        match factor:
            case Chain():
                yield from leaves(factor.pieces)
            case Zipped():
                yield from leaves(factor.parts)
            case _:
                yield factor


def from_json(entry: Mapping[str, Any]) -> Dimension:
    """Rebuild a dimension from its entry in a frozen spec."""
    match entry["kind"]:
        case "values":
            return Values(entry["key"], tuple(entry["values"]))
        case "span":
            return Span(entry["key"], entry["start"], entry["count"], entry["step"])
        case "derived":
            return Derived(entry["count"], tuple(entry["over"]), entry["job_seed"], entry.get("start", 0))
        case "template":
            names, values = zip(*entry["values"], strict=True)
            return Template(entry["key"], entry["template"], names, tuple(tuple(texts) for texts in values))
        case "zip":
            return Zipped(tuple(from_json(part) for part in entry["parts"]))
        case "table":
            rows = tuple(tuple(row) for row in entry["rows"])
            return Table(tuple(entry["keys"]), tuple(entry["labels"]), rows, entry.get("template"))
    raise ValueError(f"unknown kind of dimension {entry['kind']!r}")


def total(dimensions: Sequence[Factor]) -> int:
    """How many places the product has; an integer, whatever its size."""
    return prod(len(dimension) for dimension in dimensions)
