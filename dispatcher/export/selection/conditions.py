"""From the tree of `--where` to an SQL condition. Names are looked up, values become parameters; nothing is pasted."""

import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Double, Text, and_, literal, not_, or_

from dispatcher.export.selection.tokens import OPTION
from dispatcher.export.selection.tree import (
    LABEL,
    SCORE,
    All,
    Compare,
    Condition,
    Either,
    IsNull,
    Like,
    Name,
    Not,
    OneOf,
    Truth,
    Value,
)
from dispatcher.provenance.columns import LABEL_PREFIX
from storage.errors import InvalidSpec, UnknownName, nearest, shorten
from storage.spec.fields import IMAGE_KEYS
from storage.sql.selecting import COMPARED, Field, label_field, score_field

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], ColumnElement[bool]]]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_HELD: Final = {"text": "a text", "number": "a number", "bool": "true or false"}


def condition(tree: Condition, *, labels: Collection[str]) -> ColumnElement[bool]:
    """Build the SQL condition.

    Args:
        tree: What `parse` gave.
        labels: Names of the labels that the jobs have.

    Raises:
        UnknownName: No column, label or score of that name.
        InvalidSpec: A value that does not fit what it is compared with.
    """
    match tree:
        case All(parts):
            return and_(*(condition(part, labels=labels) for part in parts))
        case Either(parts):
            return or_(*(condition(part, labels=labels) for part in parts))
        case Not(part):
            return not_(condition(part, labels=labels))
        case _:
            return _leaf(tree, field_of(tree.name, labels=labels))


def check_pictures(tree: Condition, *, names: Mapping[str, Collection[str]]) -> None:
    """Refuse the hash of a picture, which stands in rows, where images are compared by the name of its file.

    Args:
        tree: What `parse` gave.
        names: What the jobs call each picture, by hash; a picture without a file is called by its hash.

    Raises:
        InvalidSpec: No image would be found.
    """
    match tree:
        case All(parts) | Either(parts):
            for part in parts:
                check_pictures(part, names=names)
        case Not(part):
            check_pictures(part, names=names)
        case Compare(name, sign, value):
            _check_picture(name, sign, value, names=names)
        case OneOf(name, values):
            for value in values:
                _check_picture(name, "=", value, names=names)
        case _:
            pass


def _check_picture(name: Name, sign: str, value: Value, *, names: Mapping[str, Collection[str]]) -> None:
    called = names.get(value, ()) if name.space == "" and name.text in IMAGE_KEYS and isinstance(value, str) else ()
    if called and value not in called:
        shown = " or ".join(f"'{one}'" for one in sorted(called))
        raise InvalidSpec(OPTION, f"{name} {sign} '{value}'", f"pictures are compared by their names: write {shown}")


def field_of(name: Name, *, labels: Collection[str]) -> Field:
    """What a name stands for. Raises UnknownName.

    A label may go without `label.` if no column is called so, or by the name of its column, `label_animal`.
    """
    if name.space == SCORE:
        return score_field(name.text)
    if name.space == "" and name.text in COMPARED:
        return COMPARED[name.text]
    if name.text in labels:
        return label_field(name.text)
    if name.space == "" and name.text.startswith(LABEL_PREFIX) and name.text.removeprefix(LABEL_PREFIX) in labels:
        return label_field(name.text.removeprefix(LABEL_PREFIX))
    if name.space == LABEL:
        raise UnknownName(LABEL, name.text, nearest(name.text, labels) or "these jobs have no labels")
    raise UnknownName("column", name.text, nearest(name.text, {*COMPARED, *labels}))


def _leaf(tree: Compare | OneOf | Like | IsNull | Truth, field: Field) -> ColumnElement[bool]:
    match tree:
        case Compare(name, sign, value):
            return _compare(name, field, sign, value)
        case OneOf(name, values):
            return or_(*(_compare(name, field, "=", value) for value in values))
        case Like(name, pattern, any_case):
            if field.kind != "text":
                raise InvalidSpec(OPTION, str(name), f"holds {_HELD[field.kind]}; only texts can be compared by like")
            return field.expression.regexp_match(literal(_regex(pattern, any_case=any_case), Text))
        case IsNull():
            return field.expression.is_(None)
        case Truth(name):
            if field.kind != "bool":
                raise InvalidSpec(OPTION, str(name), f"holds {_HELD[field.kind]}; compare it with something")
            return field.expression.is_(True)


def _compare(name: Name, field: Field, sign: str, value: Value) -> ColumnElement[bool]:
    compare = _OPERATORS[sign]
    if isinstance(value, bool):
        if field.kind != "bool" or sign not in ("=", "!="):
            raise _misfit(name, field, sign, value)
        return field.expression.is_(value if sign == "=" else not value)
    if isinstance(value, str):
        if field.kind != "text":
            raise _misfit(name, field, sign, value)
        if sign not in ("=", "!="):
            raise InvalidSpec(OPTION, f"{name} {sign} '{value}'", "texts have no order; use =, !=, in, like or ilike")
        return compare(field.expression, literal(value, Text))
    number = field.expression if field.kind == "number" else field.as_number
    if number is None:
        raise _misfit(name, field, sign, value)
    return compare(number, _number(name, value))


def _number(name: Name, value: float) -> ColumnElement[Any]:
    if isinstance(value, int) and abs(value) < 2**63:
        return literal(value, BigInteger)
    if isinstance(value, int) or abs(value) == float("inf"):
        raise InvalidSpec(OPTION, f"{name}: {shorten(value)}", "must be in (-2**63, 2**63)")
    return literal(value, Double)


def _misfit(name: Name, field: Field, sign: str, value: Value) -> InvalidSpec:
    shown = shorten(value) if isinstance(value, str) else str(value).lower()
    hint = {"text": "write it in single quotes", "number": "write it without quotes"}.get(field.kind)
    rule = f"{name} holds {_HELD[field.kind]}"
    return InvalidSpec(OPTION, f"{name} {sign} {shown}", f"{rule}; {hint}" if hint else rule)


def _regex(pattern: str, *, any_case: bool) -> str:
    """LIKE as a regular expression: the databases' own LIKE differ on case. A backslash takes % and _ literally."""
    parts = re.split(r"(\\[%_\\]|%+|_)", pattern)
    words = {"_": "."}
    body = "".join(
        ".*" if part.startswith("%") else words.get(part) or re.escape(part[1:] if _is_escape(part) else part)
        for part in parts
    )
    return f"(?{'i' if any_case else ''}s)\\A{body}\\Z"


def _is_escape(part: str) -> bool:
    return len(part) == 2 and part[0] == "\\" and part[1] in "%_\\"
