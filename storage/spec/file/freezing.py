"""Freeze a job file: what it leaves open is filled in, what it names is read, what contradicts itself is refused."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.errors import InvalidSpec, nearest
from storage.spec.dimension import Derived, Dimension, total
from storage.spec.fields import FIELDS
from storage.spec.file.jobfile import JobFile
from storage.spec.file.sources import checked, read_axis, read_rows, read_zip
from storage.spec.job import Job, Spec

_IMAGE_WORDS = frozenset({"number", "worker", "sha256"})  # what file names know an image by, beside its recipe
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")


def freeze(file: JobFile, *, base: Path, name: str, max_images: int) -> Spec:
    """Turn a checked job file into a frozen spec.

    Args:
        file: As parsed.
        base: Folder that paths in it are relative to.
        name: Of the job, where the file gives none.
        max_images: Cap on the places of one job (FARM_MAX_IMAGES).

    Raises:
        InvalidSpec: With the key's path, the value and the rule.
        UnreadableFile: A source file cannot be read.
    """
    dimensions = _dimensions(file, base=base)
    fixed = _fixed(file, dimensions)
    places = total(dimensions)
    if places > max_images:
        raise InvalidSpec("axes", places, f"images in one job; the cap is {max_images} (FARM_MAX_IMAGES)")
    spec = Spec(
        name=file.name or _clean(name),
        mode=file.mode,
        models=_models(fixed, dimensions, base=base),
        fixed=fixed,
        dimensions=tuple(dimensions),
        exclude=tuple(
            _clause(clause, dimensions, path=f"exclude[{place}]") for place, clause in enumerate(file.exclude)
        ),
        plan=file.plan.model_dump(exclude_none=True),
        previews=None if file.previews is None else file.previews.model_dump(),
        output=file.output.model_dump(),
    )
    if not Job(spec).images:
        raise InvalidSpec("exclude", None, f"leaves none of {places} images")
    return spec


def _dimensions(file: JobFile, *, base: Path) -> list[Dimension]:
    """Axes, zips and rows, in the order in which numbers count them."""
    job_seed = file.seed or 0
    dimensions = [
        read_axis(key, source, base=base, path=f"axes.{key}", job_seed=job_seed) for key, source in file.axes.items()
    ]
    dimensions += [
        read_zip(axes, base=base, path=f"zip[{place}]", job_seed=job_seed) for place, axes in enumerate(file.zip)
    ]
    return dimensions if file.rows is None else [*dimensions, read_rows(file.rows, base=base)]


def _fixed(file: JobFile, dimensions: list[Dimension]) -> dict[str, Any]:
    """What is the same for every image. Refuses a key given twice, and one that must be given and is not."""
    parts = _parts(dimensions)
    _check_labels(parts)
    bound = _bound_keys(dimensions)
    derives = any(isinstance(part, Derived) for part in parts)
    fixed = {}
    for key, entry in FIELDS.items():
        given = getattr(file, key)
        if key in bound and (given is None or (key == "seed" and derives)):
            continue
        if key in bound:
            raise InvalidSpec(key, given, "is also an axis; keep one of the two")
        if given is not None:
            fixed[key] = checked(key, given, path=key)
        elif entry.default is ...:
            raise InvalidSpec(key, None, f"missing; give it, or an axis axes.{key}")
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


def _check_labels(parts: list[Dimension]) -> None:
    labels = [label for part in parts for label in part.at(0).labels]
    for label in labels:
        if label in FIELDS or label in _IMAGE_WORDS or labels.count(label) > 1:
            raise InvalidSpec(f"label {label}", label, "must differ from recipe keys and other labels; rename it")


def _models(fixed: Mapping[str, Any], dimensions: list[Dimension], *, base: Path) -> dict[str, str]:
    names = {fixed["model"]: "model"} if "model" in fixed else {}
    for dimension in dimensions:
        if "model" in dimension.keys:
            names.update((dimension.at(place).values["model"], "axes.model") for place in range(len(dimension)))
    return {name: _locate(name, base=base, path=path) for name, path in names.items()}


def _locate(name: str, *, base: Path, path: str) -> str:
    try:
        folder = (base / Path(name).expanduser()).resolve()
        if folder.is_dir():
            return str(folder)
    except (OSError, RuntimeError) as error:  # a name that is too long, a ring of links, a ~user who is not there
        raise InvalidSpec(path, name, f"cannot be looked up: {error}") from None
    if name.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(name):
        raise InvalidSpec(path, name, f"no folder {folder}, and not a hub id such as owner/name or owner/name@revision")
    return name


def _clause(clause: Mapping[str, Any], dimensions: list[Dimension], *, path: str) -> dict[str, list[Any]]:
    probes = [dimension.at(0) for dimension in dimensions]
    keys = {key for probe in probes for key in probe.values}
    labels = {label for probe in probes for label in probe.labels}
    if not clause:
        raise InvalidSpec(path, clause, "must name at least one axis")
    derived = any(isinstance(part, Derived) for part in _parts(dimensions))
    frozen: dict[str, list[Any]] = {}
    for key, given in clause.items():
        where, values = f"{path}.{key}", given if isinstance(given, list) else [given]
        if not values:
            raise InvalidSpec(where, given, "must not be empty")
        if key == "seed" and derived:
            raise InvalidSpec(where, given, "seeds are derived in this job; exclude by other keys")
        if key in labels:
            frozen[key] = _label_texts(values, path=where)
        elif key in keys:
            frozen[key] = [checked(key, value, path=where) for value in values]
        else:
            raise InvalidSpec(where, given, f"not an axis or label of this job; {nearest(key, keys | labels)}")
    return frozen


def _label_texts(values: list[Any], *, path: str) -> list[str]:
    if not all(isinstance(value, str | int | float) for value in values):
        raise InvalidSpec(path, values, "must be text, or a list of texts")
    return [str(value) for value in values]


def _parts(dimensions: list[Dimension]) -> list[Dimension]:
    """Every dimension, those inside a zip one by one."""
    return [part for dimension in dimensions for part in getattr(dimension, "parts", (dimension,))]


def _clean(name: str) -> str:
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64]
    return text or "job"
