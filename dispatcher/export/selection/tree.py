"""What `--where` says, as a tree of frozen values. Pure data."""

from dataclasses import dataclass
from typing import Final, Literal

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
Value = str | int | float | bool  # a value as it is written
LABEL: Final = "label"
SCORE: Final = "score"


@dataclass(frozen=True, slots=True)
class Name:
    """What is compared: a column, a label or a score."""

    text: str
    space: Literal["", "label", "score"] = ""

    def __str__(self) -> str:
        return f"{self.space}.{self.text}" if self.space else self.text


@dataclass(frozen=True, slots=True)
class Compare:
    """`steps >= 20`."""

    name: Name
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """`scheduler in ('ddim', 'euler')`."""

    name: Name
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """`prompt like '%fox%'`."""

    name: Name
    pattern: str
    any_case: bool


@dataclass(frozen=True, slots=True)
class IsNull:
    """`negative_prompt is null`."""

    name: Name


@dataclass(frozen=True, slots=True)
class Truth:
    """`nsfw`, alone: a column that is true or false."""

    name: Name


@dataclass(frozen=True, slots=True)
class Not:
    """`not ...`."""

    part: "Condition"


@dataclass(frozen=True, slots=True)
class All:
    """`... and ...`."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """`... or ...`."""

    parts: tuple["Condition", ...]


Condition = Compare | OneOf | Like | IsNull | Truth | Not | All | Either
