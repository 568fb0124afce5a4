"""What a job would be, told before anything is queued."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import click

from dispatcher.wording import counted, human
from storage.spec import Job, Place, Spec
from storage.spec.dimension import total
from storage.spec.labels import short_values

MAX_SOURCES = 20  # lines of files that values were read from
MAX_TEXT = 240  # characters of a prompt in an example
MAX_EMPTY = 100_000  # excluded places to look past for an example
PNG_BYTES_PER_PIXEL = 1.75  # measured on photographs by the encoder's settings; flat pictures take less


def estimate(spec: Spec) -> dict[str, Any]:
    """Count, axis sizes, first and last image, bytes to expect."""
    job = Job(spec)
    first, last = _first(job), _last(job)
    sides = [(place.values["width"] or 512, place.values["height"] or 512) for place in (first, last) if place]
    pixels = max((width * height for width, height in sides), default=0)
    return {
        "name": spec.name,
        "images": job.images,
        "excluded": job.positions - job.images,
        "sample": None if spec.draw is None else {**spec.draw, "places": total(spec.dimensions)},
        "sources": [dict(source) for source in spec.sources],
        "axes": [{"keys": list(axis.keys), "values": len(axis)} for axis in spec.dimensions],
        "mode": spec.mode,
        "models": {key: dict(model) for key, model in spec.models.items()},
        "inputs": {"images": len(spec.inputs), "bytes": sum(facts.get("bytes", 0) for facts in spec.inputs.values())},
        "first": _describe(spec, first),
        "last": _describe(spec, last),
        "bytes": int(job.images * pixels * PNG_BYTES_PER_PIXEL),
        "plan": dict(spec.plan),
    }


def print_estimate(said: dict[str, Any]) -> None:
    """For people."""
    product = " x ".join(f"{axis['values']} {'+'.join(axis['keys'])}" for axis in said["axes"]) or "one image"
    drawn = "" if said["sample"] is None else "a sample of "
    click.echo(f"{said['name']}: {counted(said['images'], 'image')} = {drawn}{product}")
    if said["sample"] is not None:
        count, places = said["sample"]["count"], said["sample"]["places"]
        click.echo(f"  sample  {count} of {places} places, drawn by seed {said['sample']['seed']}")
    if said["excluded"]:
        click.echo(f"  {said['excluded']} places are excluded")
    for key, model in said["models"].items():
        name = key.removeprefix(f"{model['kind']}:")
        kind = "model" if name == key else model["kind"].replace("_", " ")
        source = "" if model["source"] == name else f" ({model['source']})"
        click.echo(f"  {kind:<7} {name}{source}")
    if said["inputs"]["images"]:
        click.echo(f"  inputs  {counted(said['inputs']['images'], 'picture')}, {human(said['inputs']['bytes'])}")
    for line in source_lines(said["sources"]):
        click.echo(f"  source  {line}")
    for which in ("first", "last"):
        if said[which] is not None:
            brief = {key: _brief(value) for key, value in said[which].items()}
            click.echo(f"  {which:<7} {json.dumps(brief, ensure_ascii=False)}")
    click.echo(f"  bytes   about {human(said['bytes'])}")


def source_lines(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """The files that values were read from, a line each, as many as fit on a screen."""
    lines = [
        f"{source['key']}: {source['name']}, {counted(source['rows'], 'row')}, sha256 {source['sha256'][:16]}"
        for source in sources[:MAX_SOURCES]
    ]
    more = len(sources) - MAX_SOURCES
    return [*lines, f"and {more} more files; --json has all of them"] if more > 0 else lines


def _brief(value: Any) -> Any:
    """A value of an example, for a screen: a long text is cut."""
    is_long = isinstance(value, str) and len(value) > MAX_TEXT
    return f"{value[: MAX_TEXT - 1]}…" if is_long else value


def _first(job: Job) -> Place | None:
    return next((place for place in islice(job, MAX_EMPTY) if place is not None), None)


def _last(job: Job) -> Place | None:
    places = (job[number] for number in reversed(range(len(job))[-MAX_EMPTY:]))
    return next((place for place in places if place is not None), None)


def _describe(spec: Spec, place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    said = {key: value for key, value in short_values(spec, place).items() if value is not None}
    return {"number": place.number, **said, **place.labels}
