"""Two jobs held against each other: which recipes only one of them has, and what their specs say differently."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from dispatcher.farm import Farm
from storage.spec import Job, canonical
from storage.spec.dimension import Chain, Derived, Factor, Span, leaves
from storage.spec.fields import FIELDS
from storage.spec.number import show_number
from storage.sql import hashes, jobs
from storage.sql.jobs import JobRow

EXAMPLES: Final = 5
MAX_VALUES: Final = 200_000  # of one key that are held against each other one by one
_WORDS: Final = ("mode", "output", "plan", "previews", "quality", "draw", "sample", "allow_blank", "exclude", "reuse")


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """What one job says of a key, and the other does not."""

    count: int
    examples: list[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What two jobs do not share."""

    only_a: int  # recipes
    only_b: int
    both: int
    examples_a: list[str]  # numbers of images whose recipes only that job has
    examples_b: list[str]
    keys: Mapping[str, Mapping[str, Values]]  # recipe key -> "a", "b" -> values that only that job has
    models: Mapping[str, Mapping[str, str | None]]  # name -> "a", "b" -> digest
    plans: Mapping[str, Mapping[str, Any]]  # size -> "a", "b" -> plan
    words: Mapping[str, Mapping[str, Any]]  # other words of the job

    @property
    def differs(self) -> bool:
        """Whether one has a recipe that the other has not."""
        return bool(self.only_a or self.only_b)


def compare(farm: Farm, a: JobRow, b: JobRow) -> Difference:
    """Hold two jobs against each other: recipes in SQL, by their hashes; the rest by their specs.

    Raises:
        DatabaseAway: SQL does not answer.
        StoreAway: A spec could not be read.
    """
    one, other = (farm.specs.load(row.id, spec_hash=row.spec_hash) for row in (a, b))
    with farm.database.read() as connection:
        both = hashes.recipes_shared(connection, a.id, b.id)
        counts = [hashes.recipes_of(connection, row.id) - both for row in (a, b)]
        shown = [
            [show_number(number) for number in hashes.only_in(connection, mine, theirs, limit=EXAMPLES)]
            for mine, theirs in ((a.id, b.id), (b.id, a.id))
        ]
        plans = jobs.plans(connection, [a.id, b.id])
    return Difference(
        only_a=counts[0], only_b=counts[1], both=both, examples_a=shown[0], examples_b=shown[1],
        keys=_keys(one, other), models=_models(a, b),
        plans=_changed(*({f"{w}x{h}": plan.model_dump() for (w, h), plan in plans.get(row.id, {}).items()}
                         for row in (a, b))),
        words=_changed(*({word: _plain(getattr(job.spec, word)) for word in _WORDS} for job in (one, other))),
    )  # fmt: skip


def _keys(one: Job, other: Job) -> dict[str, dict[str, Values]]:
    """Values of each recipe key that only one of the jobs has."""
    found = {}
    for key in FIELDS:
        mine, theirs = _said(one, key), _said(other, key)
        if mine.keys() != theirs.keys():
            found[key] = {"a": _only(mine, theirs), "b": _only(theirs, mine)}
    return found


def _said(job: Job, key: str) -> dict[Hashable, Any]:
    """What a job says of a key: canonical spelling -> value."""
    values = list(islice(_values(job, key), MAX_VALUES))
    return {canonical(value): value for value in values}


def _values(job: Job, key: str) -> Iterator[Any]:
    """Every value of a key, fixed ones too; of derived seeds and long ranges how they are made."""
    factors = [leaf for product in job.products for leaf in leaves(product.factors) if key in leaf.keys]
    if not factors:
        yield job.spec.fixed.get(key)
    for factor in _distinct(factors):
        match factor:
            case Derived():
                first = f" from {factor.start} on" if factor.start else ""
                over = ", ".join(factor.over) or "nothing"
                yield f"{factor.count} derived{first}, over {over}, job seed {factor.job_seed}"
            case Span() if len(factor) > MAX_VALUES:
                yield f"{factor.count} from {factor.start} on, step {factor.step}"
            case _:
                yield from (factor.at(place).values[key] for place in range(min(len(factor), MAX_VALUES)))


def _distinct(factors: Sequence[Factor]) -> list[Factor]:
    """Each piece once: products of a job that has grown share theirs."""
    assert not any(isinstance(factor, Chain) for factor in factors)  # leaves go into them
    return list({id(factor): factor for factor in factors}.values())


def _only(mine: Mapping[Hashable, Any], theirs: Mapping[Hashable, Any]) -> Values:
    own = [value for spelling, value in mine.items() if spelling not in theirs]
    return Values(count=len(own), examples=own[:EXAMPLES])


def _models(a: JobRow, b: JobRow) -> dict[str, dict[str, str | None]]:
    mine, theirs = ({key: facts.digest for key, facts in (row.models or {}).items()} for row in (a, b))
    return _changed(mine, theirs)


def _changed(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    names = list(dict.fromkeys([*mine, *theirs]))
    return {name: {"a": mine.get(name), "b": theirs.get(name)} for name in names if mine.get(name) != theirs.get(name)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
