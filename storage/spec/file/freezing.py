"""Freeze a job file: what it leaves open is filled in, what it names is read, what contradicts itself is refused."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.errors import InvalidSpec, nearest
from storage.spec.dimension import Dimension, Factor, leaves, total
from storage.spec.fields import FIELDS, IMAGE_KEYS, MODES
from storage.spec.file.allowed import ON_ONE_MACHINE, Allowed
from storage.spec.file.combinations import check_combinations, check_mode
from storage.spec.file.inputs import InputImages
from storage.spec.file.jobfile import JobBase
from storage.spec.file.models import find_models
from storage.spec.file.outputs import frozen_output
from storage.spec.file.quality import freeze_quality, quality_models
from storage.spec.file.sources import SourceReader
from storage.spec.file.values import checked
from storage.spec.job import Job, Spec
from storage.spec.notes import check_prompts
from storage.spec.product import find_derived

_AS_SAID = ("allow_blank", "reuse", "smaller_plans")  # words of the job that nothing has to be made of
_IMAGE_WORDS = frozenset({"number", "worker", "sha256"})  # what file names know an image by, beside its recipe


def freeze(file: JobBase, *, base: Path, name: str, max_images: int, allowed: Allowed = ON_ONE_MACHINE) -> Spec:
    """Turn a checked job file into a frozen spec.

    Args:
        file: As parsed.
        base: Folder that paths in it are relative to.
        name: Of the job, where the file gives none.
        max_images: Cap on the places of one job (FARM_MAX_IMAGES).
        allowed: What else the farm lets a job use.

    Raises:
        InvalidSpec: With the key's path, the value and the rule.
        UnreadableFile: A source file cannot be read.
    """
    inputs = InputImages(base, allowed)
    dimensions, sources = _dimensions(file, base=base, inputs=inputs)
    fixed = _fixed(file, dimensions, inputs=inputs)
    check_mode(file.mode, fixed, dimensions)
    places = _count(file, dimensions, max_images=max_images)
    spec = Spec(
        name=file.name or _clean(name),
        mode=file.mode,
        models=find_models(fixed, dimensions, base=base, allowed=allowed, others=_other_models(file)),
        fixed=fixed,
        dimensions=tuple(dimensions),
        exclude=_excluded(file, dimensions, inputs=inputs),
        plan=file.plan.model_dump(exclude_none=True),
        previews=None if file.previews is None else file.previews.model_dump(),
        output=frozen_output(file.output),
        quality=freeze_quality(file.quality, mode=file.mode, fixed=fixed, dimensions=dimensions),
        **{name: getattr(file, name) for name in _AS_SAID},
        draw=None if file.sample is None else file.sample.model_dump(),
        sources=sources,
        inputs=inputs.facts,
        files=inputs.files,
    )
    _check_whole(spec, dimensions, places=places)
    return spec


def _check_whole(spec: Spec, dimensions: Sequence[Dimension], *, places: int) -> None:
    check_prompts(spec)
    check_combinations(spec, dimensions)
    if not Job(spec).images:
        raise InvalidSpec("exclude", None, f"leaves none of {places} images")


def _other_models(file: JobBase) -> Iterator[tuple[str, str, str]]:
    """Key path, kind and name of the models that no recipe names."""
    if file.previews is not None and file.previews.taesd is not None:
        yield "previews.taesd", "vae", file.previews.taesd
    yield from quality_models(file.quality)


def _count(file: JobBase, dimensions: list[Dimension], *, max_images: int) -> int:
    """How many places the job has: those of its sample, or all. Refuses more than the cap."""
    path, places = "axes", total(dimensions)
    if file.sample is not None:
        if file.sample.count > places:
            have = "1 place" if places == 1 else f"{places} places"
            rule = f"the job has no more than {have}; without sample it renders all of them"
            raise InvalidSpec("sample.count", file.sample.count, rule)
        path, places = "sample.count", file.sample.count
    if places > max_images:
        raise InvalidSpec(path, places, f"images in one job; the cap is {max_images} (FARM_MAX_IMAGES)")
    return places


def _excluded(file: JobBase, dimensions: list[Dimension], *, inputs: InputImages) -> tuple[dict[str, list[Any]], ...]:
    clauses = enumerate(file.exclude)
    return tuple(_clause(clause, dimensions, path=f"exclude[{place}]", inputs=inputs) for place, clause in clauses)


def _dimensions(
    file: JobBase, *, base: Path, inputs: InputImages
) -> tuple[list[Dimension], tuple[dict[str, Any], ...]]:
    """Axes, zips and rows, in the order in which numbers count them; and the files that they were read from."""
    reader = SourceReader(base, job_seed=getattr(file, "seed", None) or 0, inputs=inputs)
    dimensions = [reader.axis(key, source, path=f"axes.{key}") for key, source in file.axes.items()]
    dimensions += [reader.zip(axes, path=f"zip[{place}]") for place, axes in enumerate(file.zip)]
    if file.rows is not None:
        dimensions.append(reader.rows(file.rows))
    return dimensions, reader.sources


def _fixed(file: JobBase, dimensions: list[Dimension], *, inputs: InputImages) -> dict[str, Any]:
    """What is the same for every image. Refuses a key given twice, and one that must be given and is not."""
    _check_labels(list(leaves(dimensions)))
    bound = _bound_keys(dimensions)
    derives = find_derived(dimensions) is not None
    fixed = {}
    for key, entry in FIELDS.items():
        given = getattr(file, key)
        if key in bound and (given is None or (key == "seed" and derives)):
            continue
        if key in bound:
            raise InvalidSpec(key, given, "is also an axis; keep one of the two")
        if given is not None and file.mode not in entry.modes:
            raise InvalidSpec(key, given, f"has no place in mode {file.mode}; only in {_or(entry.modes)}")
        if given is not None:
            fixed[key] = checked(key, inputs.take(given, path=key) if key in IMAGE_KEYS else given, path=key)
        elif entry.default is ... and file.mode in entry.modes:
            raise InvalidSpec(key, None, f"missing; give it, or an axis axes.{key}")
        elif entry.default is ...:
            fixed[key] = None
        else:
            fixed[key] = checked(key, entry.default, path=key) if entry.default is not None else None
    return fixed


def _bound_keys(dimensions: list[Dimension]) -> set[str]:
    bound: set[str] = set()
    for key in (key for dimension in dimensions for key in dimension.keys):
        if key in bound:
            raise InvalidSpec(key, "two axes", "must be bound once, by axes, zip or rows")
        bound.add(key)
    return bound


def _check_labels(parts: list[Factor]) -> None:
    labels = [label for part in parts for label in part.at(0).labels]
    for label in labels:
        if label in FIELDS or label in _IMAGE_WORDS or labels.count(label) > 1:
            raise InvalidSpec(f"label {label}", label, "must differ from recipe keys and other labels; rename it")


def _clause(
    clause: Mapping[str, Any], dimensions: list[Dimension], *, path: str, inputs: InputImages
) -> dict[str, list[Any]]:
    probes = [dimension.at(0) for dimension in dimensions]
    keys = {key for probe in probes for key in probe.values}
    labels = {label for probe in probes for label in probe.labels}
    if not clause:
        raise InvalidSpec(path, clause, "must name at least one axis")
    derived = find_derived(dimensions) is not None
    frozen: dict[str, list[Any]] = {}
    for key, given in clause.items():
        where, values = f"{path}.{key}", given if isinstance(given, list) else [given]
        if not values:
            raise InvalidSpec(where, given, "must not be empty")
        if key == "seed" and derived:
            raise InvalidSpec(where, given, "seeds are derived in this job; exclude by other keys")
        if key in labels:
            frozen[key] = _label_texts(values, path=where)
        elif key in IMAGE_KEYS and key in keys:
            frozen[key] = [None if value is None else inputs.take(value, path=where) for value in values]
        elif key in keys:
            frozen[key] = [checked(key, value, path=where) for value in values]
        else:
            raise InvalidSpec(where, given, f"not an axis or label of this job; {nearest(key, keys | labels)}")
    return frozen


def _label_texts(values: list[Any], *, path: str) -> list[str]:
    if not all(isinstance(value, str | int | float) for value in values):
        raise InvalidSpec(path, values, "must be text, or a list of texts")
    return [str(value) for value in values]


def _or(modes: frozenset[str]) -> str:
    return ", ".join(mode for mode in MODES if mode in modes)


def _clean(name: str) -> str:
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64]
    return text or "job"
