"""A longer spec of a job: what it had, in the same places, and parts of new images after it.

Where several axes grew, each becomes a part of its own: the new values of the first times what the others had, then
the new values of the second times all of the first, and so on. Every new combination is there once, no old one again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from storage.errors import InvalidSpec, shorten
from storage.spec.dimension import Derived, Dimension, Span, Table, Template, Values, Zipped
from storage.spec.file.combinations import check_combinations
from storage.spec.file.values import checked
from storage.spec.growth.axes import MAX_COMPARED, as_span, growth
from storage.spec.growth.unchanged import check_unchanged, match_axes
from storage.spec.job import Job, Spec
from storage.spec.notes import check_prompts
from storage.spec.part import Part, pieces_of


def extend(spec: Spec, wanted: Spec, *, max_images: int) -> Spec:
    """Extend a job by the values that an edited job file adds to its axes.

    Args:
        spec: Of the job.
        wanted: The edited file, frozen as if it were a job of its own.
        max_images: Cap on the places of one job (FARM_MAX_IMAGES).

    Returns:
        The longer spec; `spec` itself if nothing is new.

    Raises:
        InvalidSpec: The file changes anything else, lacks a value that the job has, or makes the job too large.
    """
    _check_whole(spec, wanted)
    axes = match_axes(spec, wanted)
    check_unchanged(spec, wanted)
    known = pieces_of(spec.dimensions, spec.parts)
    parts = [Part(axis, piece) for axis, pieces in enumerate(known) for piece in growth(pieces, axes[axis])]
    inputs = {key: facts for key, facts in wanted.inputs.items() if key not in spec.inputs}
    longer = _checked(spec, parts, max_images=max_images, inputs=inputs, files=wanted.files)
    read = [source for source in wanted.sources if source not in spec.sources]
    return replace(longer, sources=(*spec.sources, *read)) if longer is not spec else spec


def add_values(spec: Spec, *, seeds: int = 0, prompts: Sequence[str] = (), max_images: int) -> Spec:
    """Extend a job by more seeds and by prompts.

    Args:
        spec: Of the job.
        seeds: How many more, after the ones it has.
        prompts: Texts; those that it has already are passed over.
        max_images: Cap on the places of one job (FARM_MAX_IMAGES).

    Returns:
        The longer spec; `spec` itself if nothing is new.

    Raises:
        InvalidSpec: The job has no such axis, a value breaks a rule, or the job becomes too large.
    """
    _check_whole(spec)
    parts = []
    if prompts:
        axis, known = _axis(spec, "prompt", option="--prompt")
        parts += [Part(axis, piece) for piece in _new_prompts(known, prompts)]
    if seeds:
        axis, known = _axis(spec, "seed", option="--seeds")
        parts.append(Part(axis, _next_seeds(known, seeds)))
    parts.sort(key=lambda part: part.axis)
    return _checked(spec, parts, max_images=max_images, inputs={}, files={})


def _check_whole(*specs: Spec) -> None:
    if any(spec.draw is not None for spec in specs):
        rule = "a sample does not grow, since more values would move the places that it has"
        raise InvalidSpec("sample", None, f"{rule}; submit the file as a new job, images that exist are linked")


def _checked(
    spec: Spec, parts: Sequence[Part], *, max_images: int, inputs: Mapping[str, Any], files: Mapping[str, str]
) -> Spec:
    if not parts:
        return spec
    longer = replace(spec, parts=(*spec.parts, *parts), inputs={**spec.inputs, **inputs}, files=files)
    job = Job(longer)
    if len(job) > max_images:
        raise InvalidSpec("axes", len(job), f"images in one job; the cap is {max_images} (FARM_MAX_IMAGES)")
    check_prompts(replace(longer, dimensions=tuple(part.adds for part in parts), parts=()))
    new = job.products[-len(parts) :]
    for product in new:
        check_combinations(longer, product.factors)
    if not any(product.images for product in new):
        raise InvalidSpec("exclude", None, f"leaves none of {sum(map(len, new))} new images")
    return longer


def _axis(spec: Spec, key: str, *, option: str) -> tuple[int, list[Dimension]]:
    """The axis that binds a key alone, and what it has by now."""
    for axis, pieces in enumerate(pieces_of(spec.dimensions, spec.parts)):
        if key in pieces[0].keys and isinstance(pieces[0], Zipped | Table):
            others = ", ".join(other for other in pieces[0].keys if other != key) or "its labels"
            rule = f"stands in one table with {others} in this job; add lines there and give the file"
            raise InvalidSpec(option, None, f"{key} {rule}")
        if key in pieces[0].keys:
            return axis, pieces
    raise InvalidSpec(
        option, None,
        f"{key} is {shorten(spec.fixed.get(key))} for all images of this job, and an extension adds values to axes; "
        f"submit a new job with an axis axes.{key}, images that exist are linked",
    )  # fmt: skip


def _next_seeds(known: Sequence[Dimension], count: int) -> Dimension:
    if isinstance(known[0], Derived):
        return replace(known[0], count=count, start=sum(len(piece) for piece in known))
    span = as_span(known)
    if span is not None:
        more = Span("seed", span.start + span.step * span.count, count, span.step)
    else:
        last = [piece.at(len(piece) - 1) if isinstance(piece, Span) else None for piece in known]
        ends = [end.values["seed"] for end in last if end is not None]
        ends += [seed for piece in known if isinstance(piece, Values) for seed in piece.values]
        more = Span("seed", max(ends) + 1, count, 1)
    checked("seed", more.start + more.step * (count - 1), path="--seeds")
    return more


def _new_prompts(known: Sequence[Dimension], prompts: Sequence[str]) -> list[Dimension]:
    for text in prompts:
        checked("prompt", text, path="--prompt")
    there = {
        piece.at(place).values["prompt"] for piece in known if len(piece) <= MAX_COMPARED for place in range(len(piece))
    }
    new = tuple(text for text in dict.fromkeys(prompts) if text not in there)
    if not new:
        return []
    if isinstance(known[0], Template):  # its images have labels; these have empty ones
        names = known[0].names
        return [Table(("prompt",), names, tuple((text, *("" for _ in names)) for text in new))]
    return [Values("prompt", new)]
