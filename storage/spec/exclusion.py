"""Which places of a product are left empty, and how many, without walking the product.

A clause names values of some keys and excludes every place that has them all: a box in the product. The union of
boxes is counted dimension by dimension, carrying only how many places still match which set of clauses.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from storage.spec.dimension import Binding, Chain, Factor, Span

Clause = Mapping[str, Sequence[Any]]  # key or label -> the values that it excludes


def excluded_count(dimensions: Sequence[Factor], clauses: Sequence[Clause]) -> int:
    """Count the places that some clause excludes.

    Costs the length of the dimensions that clauses speak of, times the sets of clauses that can match together.
    """
    if not clauses:
        return 0
    everything = (1 << len(clauses)) - 1
    matching = Counter({everything: 1})
    for dimension in dimensions:
        masks = _masks(dimension, clauses)
        step: Counter[int] = Counter()
        for mask, places in matching.items():
            for other, times in masks.items():
                if mask & other:
                    step[mask & other] += places * times
        matching = step
    return sum(matching.values())


def is_excluded(bindings: Sequence[Binding], clauses: Sequence[Clause]) -> bool:
    """Whether one place, given by what each dimension binds there, matches a clause in full."""
    return any(all(_allows(binding, clause) for binding in bindings) for clause in clauses)


def _masks(dimension: Factor, clauses: Sequence[Clause]) -> Counter[int]:
    if isinstance(dimension, Chain):
        return sum((_masks(piece, clauses) for piece in dimension.pieces), Counter())
    probe = dimension.at(0)
    known = probe.values.keys() | probe.labels.keys()
    if not any(known & clause.keys() for clause in clauses):
        return Counter({(1 << len(clauses)) - 1: len(dimension)})
    masks: Counter[int] = Counter()
    if isinstance(dimension, Span):  # may be long: only the values that clauses name differ from the rest
        places = {value for clause in clauses for value in clause.get(dimension.key, ()) if value in dimension}
        rest = sum(1 << bit for bit, clause in enumerate(clauses) if dimension.key not in clause)
        masks[rest] = len(dimension) - len(places)
        for value in places:
            matching = (bit for bit, clause in enumerate(clauses) if value in clause.get(dimension.key, (value,)))
            masks[sum(1 << bit for bit in matching)] += 1
        return masks
    for place in range(len(dimension)):
        binding = dimension.at(place)
        masks[sum(1 << bit for bit, clause in enumerate(clauses) if _allows(binding, clause))] += 1
    return masks


def _allows(binding: Binding, clause: Clause) -> bool:
    """Whether what this dimension binds agrees with the clause; it may have no say."""
    for said in (binding.values, binding.labels):
        for key, value in said.items():
            if key in clause and value not in clause[key]:
                return False
    return True
