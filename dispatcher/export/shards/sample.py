"""One image on its way into a shard, and what its side file says. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dispatcher.provenance.columns import Column
from storage.spec.number import place_of, take_of

_BLANK: Final[Mapping[str, Any]] = {"string": "", "int64": -1, "float64": -1.0, "bool": False}
# What is the same or null for every exported image, may be null as a number, or is told by the file's place.
_TABLE_ONLY: Final = frozenset(
    {"state", "reason", "detail", "linked_from", "clip", "aesthetic", "safety", "file_name", "split"}
)
_NUMBERS: Final[Mapping[str, type]] = {"int64": int, "float64": float}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A picture, its row and what it is called."""

    key: str  # without a dot, in the order of the selection within a job
    file_name: str
    suffix: str  # without the dot
    data: bytes  # empty where the picture lies in its place already
    size: int
    row: Mapping[str, Any]
    caption: str
    cls: int | None = None


def key_of(number: int, *, job: str | None) -> str:
    """Name an image: "000000012", its second take "000000012-2", with several jobs "k3v9-000000012".

    No dots: readers of tars cut names there.
    """
    name = f"{place_of(number):09d}" + (f"-{take_of(number)}" if take_of(number) else "")
    return name if job is None else f"{job}-{name}"


def side_row(row: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    """The row as a side file tells it: the same keys in every sample and never null.

    Readers take the first samples for the schema. What is absent is "", or -1 of a number; `recipe` tells for sure.
    """
    said = {}
    for column in columns:
        if column.name not in _TABLE_ONLY:
            value = row[column.name]
            kind = _NUMBERS.get(column.type)
            said[column.name] = _BLANK[column.type] if value is None else kind(value) if kind else value
    return said
