"""Queries that choose images by what made them: every name that users may compare, as an SQL expression.

Values never become part of a query's text. JSON is read by path, with a name that is a parameter too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Double, Text, case, cast, func, select

from storage.spec.fields import FIELDS, holds_number
from storage.spec.number import TAKE
from storage.sql.tables import environment, image, model, plan, prompt
from storage.states import ImageState
from storage.wire.messages import FLAGS

Kind = Literal["text", "number", "bool"]
_PAGE: Final = 5000
_negative = prompt.alias("negative")
_NUMBER: Final = r"^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?$"
_OWN: Final = {"model", "prompt", "negative_prompt", "seed", "scheduler", "steps", "guidance_scale", "width", "height"}
_SCORES: Final = ("clip", "aesthetic", "safety")


@dataclass(frozen=True, slots=True)
class Field:
    """Something that images can be compared by."""

    expression: ColumnElement[Any]
    kind: Kind
    as_number: ColumnElement[Any] | None = None  # of a text that may spell a number: that number, else null


@dataclass(frozen=True, slots=True)
class Candidate:
    """What decides whether and where an image is exported."""

    number: int
    state: ImageState
    rejected: str | None
    recipe_hash: str
    prompt: str | None
    flags: frozenset[str]


def _json_field(document: ColumnElement[Any], name: str, kind: Kind) -> Field:
    if kind == "number":
        return Field(document[name].as_float(), kind)
    text = cast(document[name].as_string(), Text)
    return Field(text, kind, case((text.regexp_match(_NUMBER), cast(text, Double))))


def label_field(name: str) -> Field:
    """A label, by its name."""
    return _json_field(image.c.labels, name, "text")


def score_field(name: str) -> Field:
    """What a scorer gave."""
    return _json_field(image.c.scores, name, "number")


def _fields() -> Mapping[str, Field]:
    texts = ("job", "state", "scheduler", "recipe_hash", "sha256", "pixel_sha256", "phash", "rejected", "reason",
             "detail", "worker", "linked_job")  # fmt: skip
    numbers = ("seed", "steps", "guidance_scale", "width", "height", "bytes", "linked_number")
    found = {name: Field(image.c[name], "text") for name in texts}
    found |= {name: Field(image.c[name], "number") for name in numbers}
    found |= {name: Field(image.c[name], "bool") for name in FLAGS}
    found |= {name: score_field(name) for name in _SCORES}
    found |= {
        "number": Field(image.c.number % TAKE, "number"),
        "take": Field(image.c.number // TAKE, "number"),
        "prompt": Field(prompt.c.text, "text"),
        "negative_prompt": Field(_negative.c.text, "text"),
        "model": Field(model.c.name, "text"),
        "model_digest": Field(model.c.digest, "text"),
        "family": Field(model.c.family, "text"),
        "plan_hash": Field(plan.c.hash, "text"),
        "batch": _json_field(plan.c.body, "batch", "number"),
    }
    found |= {name: _json_field(plan.c.body, name, "text") for name in ("dtype", "device_type")}
    found |= {name: _json_field(environment.c.body, name, "text") for name in ("torch", "diffusers", "transformers")}
    for name, entry in FIELDS.items():
        if name not in _OWN:
            found[name] = _json_field(image.c.options, name, "number" if holds_number(entry) else "text")
    return found


COMPARED: Final = _fields()


def candidates(
    connection: Connection, job_id: str, *, where: ColumnElement[bool] | None, after: int = -1, limit: int = _PAGE
) -> list[Candidate]:
    """Images of a job that have a row and meet a condition, by number, above `after`."""
    query = (
        select(
            image.c.number, image.c.state, image.c.rejected, image.c.recipe_hash, prompt.c.text,
            *(image.c[flag] for flag in FLAGS),
        )
        .select_from(_JOINED)
        .where(image.c.job == job_id, image.c.number > after, *([] if where is None else [where]))
        .order_by(image.c.number)
        .limit(limit)
    )  # fmt: skip
    return [
        Candidate(
            row.number, ImageState(row.state), row.rejected, row.recipe_hash, row.text,
            frozenset(flag for flag in FLAGS if getattr(row, flag)),
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def values_of(
    connection: Connection, job_ids: Sequence[str], field: Field, *, where: ColumnElement[bool] | None, limit: int
) -> list[str | None]:
    """The different values of a field among the images made of some jobs, sorted; None where one has none."""
    text = cast(field.expression, Text)
    query = (
        select(text)
        .distinct()
        .select_from(_JOINED)
        .where(image.c.job.in_(job_ids), image.c.state == ImageState.DONE, *([] if where is None else [where]))
        .limit(limit)
    )
    found = list(connection.execute(query).scalars())
    return sorted(found, key=lambda value: (value is None, value or ""))


def mean_bytes(connection: Connection, job_ids: Sequence[str]) -> float:
    """Mean size of the images made of some jobs; 0 while there are none."""
    query = select(func.avg(image.c.bytes)).where(image.c.job.in_(job_ids), image.c.bytes.is_not(None))
    return float(connection.execute(query).scalar() or 0)


_JOINED = (
    image.outerjoin(prompt, prompt.c.id == image.c.prompt)
    .outerjoin(_negative, _negative.c.id == image.c.negative_prompt)
    .join(model, model.c.id == image.c.model)
    .join(plan, plan.c.id == image.c.plan)
    .join(environment, environment.c.id == image.c.environment)
)
