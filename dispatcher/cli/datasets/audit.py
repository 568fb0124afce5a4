"""Commands about what images of jobs share: noise, pictures, recipes."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.common import echo_json, json_option, open_farm

if TYPE_CHECKING:
    from dispatcher.auditing.collisions import Audit
    from dispatcher.auditing.differing import Difference, Values
    from storage.sql.jobs import JobRow

_SHOWN = 20  # collisions; --json has all
_DIGEST = len("sha256:") + 12
_LONG = 60  # characters of a value


@click.command(short_help="Look for noise and pictures that occur twice.")
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option(
    "--distance", type=click.IntRange(0, 16), default=4, show_default=True, metavar="BITS",
    help="Near duplicates differ in at most so many of the 64 bits of their perceptual hashes.",
)  # fmt: skip
@json_option
def audit(jobs: tuple[str, ...], distance: int, as_json: bool) -> int:
    """Look for images of JOBs that share starting noise, or are duplicates, without a job saying so.

    Two images share noise if seed and size are the same. A job declares that along every axis that its seeds are
    crossed with; derived seeds, along the keys that are not in `over`; zips and rows, never between rows. Between jobs
    nothing is declared. Near duplicates that share declared noise are no collision, exact ones always are. Images that
    failed or were rejected are left out.

    Ends with 1 if there is a collision.
    """
    from dispatcher.auditing.collisions import audit as look
    from dispatcher.auditing.collisions import to_json
    from storage.sql import jobs as queries

    farm = open_farm()
    with farm.database.read() as connection:
        rows = list({row.id: row for row in (queries.find(connection, name) for name in jobs)}.values())
    found = look(farm, rows, distance=distance)
    if as_json:
        echo_json(to_json(found))
    else:
        _print_audit(found)
    return 1 if found.collisions else 0


@click.command(short_help="Say which recipes two jobs do not share.")
@click.argument("job_a")
@click.argument("job_b")
@json_option
def diff(job_a: str, job_b: str, as_json: bool) -> int:
    """Say which recipes only JOB_A or only JOB_B has, and what the two say differently, key by key.

    Counts the images that were made or failed so far; a recipe that a job has twice counts once.

    Ends with 1 if one has a recipe that the other has not.
    """
    from dataclasses import asdict

    from dispatcher.auditing.differing import compare
    from storage.sql import jobs as queries

    farm = open_farm()
    with farm.database.read() as connection:
        a, b = queries.find(connection, job_a), queries.find(connection, job_b)
    found = compare(farm, a, b)
    if as_json:
        echo_json({"a": a.id, "b": b.id, "differs": found.differs, **asdict(found)})
    else:
        _print_diff(a, b, found)
    return 1 if found.differs else 0


def _print_audit(found: "Audit") -> None:
    left = {"rejected": found.rejected, "failed": found.failed}
    beside = "".join(f", {count} {word} left out" for word, count in left.items() if count)
    click.echo(f"{_many(found.images, 'image')} looked at{beside}")
    for one in found.declared:
        click.echo(f"{one.name} ({one.job}): {one.seeds}")
        if one.images:
            along = f" along {', '.join(one.along)}" if one.along else ""
            click.echo(f"  declared: {one.images} images share {_many(one.noises, 'starting noise')}{along}")
        else:
            click.echo("  no two images share starting noise by declaration")
    if found.near_declared:
        click.echo(f"{_many(found.near_declared, 'near duplicate')} among images of declared noise")
    if found.unlooked:
        without = f"{_many(found.unlooked, 'image')} without a perceptual hash, as older farms made none"
        click.echo(f"{without}: not looked at for near duplicates; './farm verify JOB' makes them")
    counts = [_many(count, kind) for kind, count in found.counts().items() if count]
    click.echo(f"not declared: {', '.join(counts) or 'nothing'}")
    for collision in found.collisions[:_SHOWN]:
        click.echo(f"  {collision}")
    if len(found.collisions) > _SHOWN:
        click.echo(f"  and {len(found.collisions) - _SHOWN} more; --json names all")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _job(row: "JobRow") -> str:
    ended = row.done + row.failed
    return f"{row.name} ({row.id}){f', {ended} of {row.images} images so far' if ended < row.images else ''}"


def _print_diff(a: "JobRow", b: "JobRow", found: "Difference") -> None:
    click.echo(f"A {_job(a)}\nB {_job(b)}")
    click.echo(f"recipes: {found.only_a} only in A, {found.only_b} only in B, {found.both} in both")
    for letter, numbers in (("A", found.examples_a), ("B", found.examples_b)):
        if numbers:
            click.echo(f"  only in {letter}, such as: {', '.join(numbers)}")
    for line in _keys(found):
        click.echo(line)
    models = {name: {side: digest and digest[:_DIGEST] for side, digest in pair.items()}
              for name, pair in found.models.items()}  # fmt: skip
    for what, changed in (("model ", models), ("plan ", found.plans), ("", found.words)):
        for name, pair in changed.items():
            for line in _pair(what + name, pair):
                click.echo(line)


def _keys(found: "Difference") -> Iterator[str]:
    for key, sides in found.keys.items():
        yield f"{key}:"
        yield from (f"  {line}" for line in _sides(sides))
    for key, counts in found.uncompared.items():
        yield f"{key}: {counts['a']} values in A, {counts['b']} in B; so many are not compared one by one"


def _sides(sides: "Mapping[str, Values]") -> Iterator[str]:
    for letter, values in sides.items():
        if values.count:
            more = f" and {values.count - len(values.examples)} more" if values.count > len(values.examples) else ""
            yield f"only in {letter.upper()}: {', '.join(map(_shown, values.examples))}{more}"


def _pair(name: str, pair: Mapping[str, Any]) -> Iterator[str]:
    """What changed of one thing: of mappings the keys that differ."""
    mine, theirs = pair["a"], pair["b"]
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in dict.fromkeys([*mine, *theirs]):
            if mine.get(key) != theirs.get(key):
                yield f"{name} {key}: {_shown(mine.get(key))} in A, {_shown(theirs.get(key))} in B"
    else:
        yield f"{name}: {_shown(mine)} in A, {_shown(theirs)} in B"


def _shown(value: object) -> str:
    """A value as a job file would say it; what one does not say is nothing."""
    from storage.errors import shorten

    if value is None:
        return "nothing"
    if isinstance(value, bool | dict | list):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
    return shorten(value)
