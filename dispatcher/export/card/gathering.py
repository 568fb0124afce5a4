"""From SQL and a frozen spec to what the card tells of a job."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from sqlalchemy import Connection

from dispatcher.export.card.facts import (
    AxisFact,
    CodeFact,
    JobFacts,
    ModelFact,
    SourceFact,
    shown_model,
    shown_source,
)
from storage.spec import Job, Spec
from storage.spec.dimension import Chain, Derived, Factor, total
from storage.spec.fields import FIELDS
from storage.spec.labels import label
from storage.spec.named_code import code_of
from storage.spec.part import pieces_of
from storage.spec.product import find_derived
from storage.spec.recipe import is_idle
from storage.sql import jobs, registry
from storage.sql.jobs import JobRow

_SHOWN: Final = 6  # values of an axis
_TEXT: Final = 80  # characters of one


def facts_of(connection: Connection, row: JobRow, job: Job) -> JobFacts:
    """What a card tells of a job.

    Args:
        connection: For the licences of registered models, and the job's plans.
        row: The job.
        job: Its spec.
    """
    spec = job.spec
    plans = jobs.plans(connection, [row.id]).get(row.id, {})
    bodies = {plan.hash: plan.model_dump() for plan in plans.values()}
    return JobFacts(
        id=row.id, name=row.name, spec_hash=row.spec_hash, mode=spec.mode, images=row.images, done=row.done,
        failed=row.failed, rejected=row.rejected, models=tuple(_models(connection, row, spec)),
        axes=tuple(_axes(spec)), fixed=dict(_fixed(spec)), sources=tuple(_sources(spec)),
        plans=tuple(bodies[key] for key in sorted(bodies)), output=spec.output, quality=spec.quality,
        combinations=_combinations(job), draw_seed=None if spec.draw is None else spec.draw["seed"],
        excludes=bool(spec.exclude), code=tuple(_code(row, spec)),
    )  # fmt: skip


def _models(connection: Connection, row: JobRow, spec: Spec) -> Iterator[ModelFact]:
    licences = {model.digest: model.license for model in registry.listing(connection) if model.license}
    resolved = row.models or {}
    for key, entry in sorted(spec.models.items()):
        facts = resolved.get(key)
        yield ModelFact(
            name=shown_model(key.removeprefix(f"{entry['kind']}:")), kind=entry["kind"],
            source=shown_source(entry["source"]), digest=None if facts is None else facts.digest,
            family=None if facts is None else facts.family,
            license=None if facts is None else licences.get(facts.digest),
        )  # fmt: skip


def _code(row: JobRow, spec: Spec) -> Iterator[CodeFact]:
    resolved = row.models or {}
    for key, named in sorted(code_of(spec).items()):
        facts = resolved.get(key)
        yield CodeFact(
            name=named["source"], kind=named["kind"], distribution=None if facts is None else facts.family,
            digest=None if facts is None else facts.digest,
        )  # fmt: skip


def _axes(spec: Spec) -> Iterator[AxisFact]:
    for pieces in pieces_of(spec.dimensions, spec.parts):
        axis = Chain(pieces)
        derived = find_derived([axis])
        yield AxisFact(
            keys=axis.keys, count=len(axis), examples=_examples(axis, spec, derived=derived),
            template=axis.at(0).template if len(axis) else None,
            derived_over=None if derived is None else derived.over,
        )  # fmt: skip


def _combinations(job: Job) -> int | None:
    """How many combinations the axes have, where the job renders only a sample of them."""
    if job.spec.draw is None and job.spec.sample is None:
        return None
    return sum(total(product.factors) for product in job.products)


def _examples(axis: Chain, spec: Spec, *, derived: Derived | None) -> tuple[str, ...]:
    """The first few values and the last; a derived seed differs with the image, so there is nothing to show of it."""
    keys = [key for key in axis.keys if derived is None or key != derived.key]
    if not keys:
        return ()
    count = len(axis)
    places: Sequence[int] = range(count) if count <= _SHOWN else [*range(_SHOWN - 1), count - 1]
    return tuple(_said(axis, place, spec, keys=keys) for place in places)


def _said(axis: Factor, place: int, spec: Spec, *, keys: Sequence[str]) -> str:
    values = axis.at(place).values
    return " · ".join(_word(key, values[key], spec) for key in keys)


def _word(key: str, value: Any, spec: Spec) -> str:
    """One value, short, without a path of somebody's machine."""
    said = label(key, value, inputs=spec.inputs)
    text = "none" if said is None else str(said)
    if key in FIELDS and FIELDS[key].refers is not None:
        text = PurePath(text).name if FIELDS[key].refers == "image" else shown_model(text)
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _fixed(spec: Spec) -> Iterator[tuple[str, str]]:
    for key, value in spec.fixed.items():
        if value is not None and value != [] and key in FIELDS and not is_idle(key, spec.fixed):
            yield key, _word(key, value, spec)


def _sources(spec: Spec) -> Iterator[SourceFact]:
    for source in spec.sources:
        entry: Mapping[str, Any] = source
        yield SourceFact(name=PurePath(str(entry.get("name", ""))).name, sha256=str(entry.get("sha256", "")))
