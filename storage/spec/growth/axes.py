"""What one axis gained between a job and an edited file, as dimensions of new values only."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from storage.errors import InvalidSpec, shorten
from storage.spec.canonical import digest
from storage.spec.dimension import Binding, Derived, Dimension, Span, Table, Template, Values, Zipped
from storage.spec.product import find_derived

MAX_COMPARED: Final = 1_000_000  # values of one axis that are held against each other one by one
ONLY_ADDS: Final = (
    "an extension only adds values to axes; submit the file as a new job, images that exist are linked"
)  # fmt: skip
_KINDS: Final[dict[type, str]] = {
    Values: "a list of values", Span: "a list of values", Derived: "derived seeds", Template: "a template",
    Zipped: "a zip", Table: "rows",
}  # fmt: skip


def path_of(dimension: Dimension) -> str:
    """Where an axis stands in a job file."""
    if isinstance(dimension, Zipped):
        return f"zip ({', '.join(dimension.keys)})"
    return "rows" if isinstance(dimension, Table) else f"axes.{dimension.keys[0]}"


def growth(known: Sequence[Dimension], wanted: Dimension) -> list[Dimension]:
    """The new values of an axis, in the order of the file.

    Args:
        known: What the axis has by now: the values it began with, and what parts added.
        wanted: The axis as the edited file has it.

    Returns:
        Nothing if it has no new values; more than one piece where several lists of a template grew.

    Raises:
        InvalidSpec: A value is gone, or the axis became another one.
    """
    before, now = _KINDS[type(known[0])], _KINDS[type(wanted)]
    if before != now:
        raise InvalidSpec(path_of(wanted), None, f"{before} in the job, {now} in the file; {ONLY_ADDS}")
    _check_derived(find_derived(known), find_derived([wanted]))
    match wanted:
        case Derived():
            return _more_seeds(known, wanted)
        case Template():
            return _more_words(known, wanted)
        case Span() if (span := as_span(known)) is not None and (span.start, span.step) == (wanted.start, wanted.step):
            return _more_numbers(span, wanted)
    return _more_rows(known, wanted)


def as_span(pieces: Sequence[Dimension]) -> Span | None:
    """Pieces of an axis as one range, if they are one."""
    span: Span | None = None
    for piece in pieces:
        if not isinstance(piece, Span):
            return None
        if span is None:
            span = piece
        elif (piece.start, piece.step) == (span.start + span.step * span.count, span.step):
            span = Span(span.key, span.start, span.count + piece.count, span.step)
        else:
            return None
    return span


def _check_derived(before: Derived | None, now: Derived | None) -> None:
    """Refuse seeds that would be derived from something else."""
    facts = [None if derived is None else (list(derived.over), derived.job_seed) for derived in (before, now)]
    for place, name in enumerate(("axes.seed.over", "seed")):
        was, wanted = (None if one is None else one[place] for one in facts)
        if was != wanted:
            raise InvalidSpec(name, None, f"{shorten(was)} in the job, {shorten(wanted)} in the file; {ONLY_ADDS}")


def _more_seeds(known: Sequence[Dimension], wanted: Derived) -> list[Dimension]:
    have = sum(len(piece) for piece in known)
    if wanted.count < have:
        raise InvalidSpec(f"{path_of(wanted)}.derive", wanted.count, f"the job has {have} already; {ONLY_ADDS}")
    more = Derived(wanted.count - have, wanted.over, wanted.job_seed, start=have)
    return [more] if more.count else []


def _more_numbers(span: Span, wanted: Span) -> list[Dimension]:
    if wanted.count < span.count:
        raise InvalidSpec(
            f"{path_of(wanted)}.count", wanted.count, f"the job has {span.count} already; {ONLY_ADDS}"
        )  # fmt: skip
    more = Span(span.key, span.start + span.step * span.count, wanted.count - span.count, span.step)
    return [more] if more.count else []


def _more_words(known: Sequence[Dimension], wanted: Template) -> list[Dimension]:
    """A template is a product of lists and grows as a job does, one piece a list. Texts beside it are not asked for."""
    templates = [piece for piece in known if isinstance(piece, Template)]
    path, first = path_of(wanted), templates[0]
    if first.template != wanted.template:
        was = f"{shorten(first.template)} in the job, {shorten(wanted.template)} in the file"
        raise InvalidSpec(f"{path}.template", None, f"{was}; {ONLY_ADDS}")
    columns = zip(*(piece.values for piece in templates), strict=True)
    lists = [tuple(dict.fromkeys(word for words in column for word in words)) for column in columns]
    pieces = []
    for place, name in enumerate(first.names):
        asked = wanted.values[wanted.names.index(name)]
        if gone := set(lists[place]) - set(asked):
            raise _lacks(f"{path}.values.{name}", shorten(min(gone)))
        new = tuple(word for word in asked if word not in set(lists[place]))
        if new:
            pieces.append(Template(first.key, first.template, first.names, (*lists[:place], new, *lists[place + 1 :])))
            lists[place] = (*lists[place], *new)
    return list(pieces)


def _more_rows(known: Sequence[Dimension], wanted: Dimension) -> list[Dimension]:
    path = path_of(wanted)
    if sum(map(len, known)) + len(wanted) > MAX_COMPARED:
        rule = f"has too many values to compare (the most is {MAX_COMPARED}); let a range grow by its count alone"
        raise InvalidSpec(path, None, rule)
    before, now = (sorted(dimension.at(0).labels) for dimension in (known[0], wanted))
    if before != now:
        raise InvalidSpec(f"{path}.labels", None, f"{before} in the job, {now} in the file; {ONLY_ADDS}")
    had = [(_identity(binding), binding) for piece in known for binding in map(piece.at, range(len(piece)))]
    missing = Counter(identity for identity, _ in had)
    new = []
    for place in range(len(wanted)):
        identity = _identity(wanted.at(place))
        if missing[identity] > 0:
            missing[identity] -= 1
        else:
            new.append(place)
    if gone := next((binding for identity, binding in had if missing[identity] > 0), None):
        values = {**gone.values, **gone.labels}
        raise _lacks(path, shorten(values if len(values) > 1 else next(iter(values.values()))))
    return [_only(wanted, new)] if new else []


def _lacks(path: str, gone: str) -> InvalidSpec:
    return InvalidSpec(path, None, f"lacks {gone}, which the job has; bring it back: {ONLY_ADDS}")


def _identity(binding: Binding) -> str:
    return digest([binding.values, binding.labels])


def _only(dimension: Dimension, places: Sequence[int]) -> Dimension:
    """Some places of a dimension, with all that they bind."""
    in_a_row = places[-1] - places[0] == len(places) - 1
    match dimension:
        case Zipped():
            return Zipped(tuple(_only(part, places) for part in dimension.parts))
        case Span() if in_a_row:
            return Span(dimension.key, dimension.start + dimension.step * places[0], len(places), dimension.step)
        case Derived():  # in a zip: each row is one replicate, so that rows which stay keep their places
            assert in_a_row
            return Derived(len(places), dimension.over, dimension.job_seed, start=places[0])
        case Values() | Span():
            return Values(dimension.key, tuple(dimension.at(place).values[dimension.key] for place in places))
    chosen, labels = [dimension.at(place) for place in places], tuple(dimension.at(0).labels)
    rows = (
        (*(one.values[key] for key in dimension.keys), *(one.labels[name] for name in labels)) for one in chosen
    )  # fmt: skip
    return Table(dimension.keys, labels, tuple(rows), chosen[0].template)
