"""That an edited file says of a job what the job says already, but for the values of its axes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from storage.errors import InvalidSpec, shorten
from storage.spec.canonical import canonical
from storage.spec.dimension import Dimension
from storage.spec.fields import FIELDS
from storage.spec.growth.axes import ONLY_ADDS, path_of
from storage.spec.job import Spec
from storage.spec.named_code import named_by

_ALONE = ("mode", "allow_blank", "reuse", "smaller_plans")
_MAPPINGS = ("plan", "previews", "output", "quality")
_FROZEN = "a job's models are frozen; submit the file as a new job, images that exist are linked"


def match_axes(spec: Spec, wanted: Spec) -> list[Dimension]:
    """The axes of the edited file in the order of the job's. Raises InvalidSpec where they are not the same ones."""
    mine = {frozenset(dimension.keys): dimension for dimension in spec.dimensions}
    theirs = {frozenset(dimension.keys): dimension for dimension in wanted.dimensions}
    for keys, dimension in theirs.items():
        if keys not in mine:
            raise InvalidSpec(path_of(dimension), None, f"no such axis in the job{_said(spec, dimension)}; {ONLY_ADDS}")
    for keys, dimension in mine.items():
        if keys not in theirs:
            missing = f"an axis of the job that the file lacks{_said(wanted, dimension)}"
            raise InvalidSpec(path_of(dimension), None, f"{missing}; {ONLY_ADDS}")
    return [theirs[frozenset(dimension.keys)] for dimension in spec.dimensions]


def check_unchanged(spec: Spec, wanted: Spec) -> None:
    """Refuse an edited file that changes more than values of axes; its name does not count.

    Raises:
        InvalidSpec: With the first key that differs, and both values.
    """
    for path, before, now, rule in _compared(spec, wanted):
        if canonical(before) != canonical(now):
            raise InvalidSpec(path, None, f"{_word(before)} in the job, {_word(now)} in the file; {rule}")


def _compared(spec: Spec, wanted: Spec) -> Iterator[tuple[str, Any, Any, str]]:
    """Path, value in the job, value in the file, rule."""
    for name in _ALONE:
        yield name, getattr(spec, name), getattr(wanted, name), ONLY_ADDS
    for name in _MAPPINGS:
        before, now = getattr(spec, name) or {}, getattr(wanted, name) or {}
        yield from ((f"{name}.{key}", before.get(key), now.get(key), ONLY_ADDS) for key in {**before, **now})
    bound = {key for dimension in spec.dimensions for key in dimension.keys}
    for key, entry in FIELDS.items():
        if key not in bound:
            default = None if entry.default is ... else entry.default  # of a key that is younger than the job
            yield key, spec.fixed.get(key, default), wanted.fixed.get(key, default), ONLY_ADDS
    mine, theirs = named_by(spec), named_by(wanted)
    for key in {**mine, **theirs}:
        yield f"model {key}", _source(mine, key), _source(theirs, key), _FROZEN
    yield "exclude", _sorted(spec.exclude), _sorted(wanted.exclude), ONLY_ADDS


def _source(models: Mapping[str, Mapping[str, str]], key: str) -> str | None:
    return models[key]["source"] if key in models else None


def _sorted(clauses: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted((dict(clause) for clause in clauses), key=canonical)


def _said(spec: Spec, dimension: Dimension) -> str:
    """What a job says of a key that is an axis elsewhere."""
    key = dimension.keys[0]
    said = spec.fixed.get(key) if len(dimension.keys) == 1 else None
    return "" if said is None else f", where {key} is {shorten(said)}"


def _word(value: Any) -> str:
    return "nothing" if value is None else shorten(value)
