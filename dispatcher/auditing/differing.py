"""Two jobs held against each other: which recipes only one of them has, and what their specs say differently."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dispatcher.auditing.saying import Saying
from dispatcher.farm import Farm
from storage.spec import Job
from storage.spec.fields import FIELDS
from storage.spec.number import show_number
from storage.sql import hashes, jobs
from storage.sql.jobs import JobRow

EXAMPLES: Final = 5
MAX_VALUES: Final = 2_000_000  # of one key that are compared: 10 s and 180 MB for two jobs of so many prompts
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
    uncompared: Mapping[str, Mapping[str, int]]  # recipe key of too many values -> "a", "b" -> how many
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
    keys, uncompared = _keys(one, other)
    return Difference(
        only_a=counts[0], only_b=counts[1], both=both, examples_a=shown[0], examples_b=shown[1],
        keys=keys, uncompared=uncompared, models=_models(a, b),
        plans=_changed(*({f"{w}x{h}": plan.model_dump() for (w, h), plan in plans.get(row.id, {}).items()}
                         for row in (a, b))),
        words=_changed(*({word: _plain(getattr(job.spec, word)) for word in _WORDS} for job in (one, other))),
    )  # fmt: skip


def _keys(one: Job, other: Job) -> tuple[dict[str, dict[str, Values]], dict[str, dict[str, int]]]:
    """Values of each recipe key that only one of the jobs has; and of keys of too many values, how many those are."""
    found: dict[str, dict[str, Values]] = {}
    uncompared: dict[str, dict[str, int]] = {}
    for key in FIELDS:
        mine, theirs = Saying(one, key), Saying(other, key)
        if max(len(mine), len(theirs)) > MAX_VALUES:
            if mine.pieces != theirs.pieces:
                uncompared[key] = {"a": len(mine), "b": len(theirs)}
            continue
        sides = {"a": _only(mine, theirs), "b": _only(theirs, mine)}
        if any(side.count for side in sides.values()):
            found[key] = sides
    return found, uncompared


def _only(mine: Saying, theirs: Saying) -> Values:
    positions = mine.lacks(theirs)
    return Values(count=len(positions), examples=[mine.at(position) for position in positions[:EXAMPLES].tolist()])


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
