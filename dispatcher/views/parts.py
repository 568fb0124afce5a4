"""The parts of a job that was extended, for people and scripts."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import click

from dispatcher.wording import counted
from storage.spec import Job, Place
from storage.spec.labels import short_values
from storage.spec.product import Product

MAX_EMPTY = 10_000  # excluded places to look past for an example


def describe_parts(job: Job) -> list[dict[str, Any]]:
    """Every part of a job, the one that it began with first: its numbers, how many images, and what it added."""
    grown = [{"keys": list(part.adds.keys), "values": len(part.adds)} for part in job.spec.parts]
    return [
        {
            "part": number, "images": product.images, "first": product.first,
            "last": product.first + len(product) - 1, "adds": adds,
        }
        for number, (product, adds) in enumerate(zip(job.products, [None, *grown], strict=True), start=1)
    ]  # fmt: skip


def part_lines(job: Job) -> list[str]:
    """A line for each part of a job."""
    return [_line(said) for said in describe_parts(job)]


def print_new_parts(job: Job, *, before: int) -> None:
    """Print what the parts after the first `before` ones hold, with their first and last image."""
    for said, product in list(zip(describe_parts(job), job.products, strict=True))[before:]:
        click.echo(f"  {_line(said)}")
        _print_ends(job, product)


def _line(said: Mapping[str, Any]) -> str:
    line = f"part {said['part']}  {counted(said['images'], 'image')}, numbers {said['first']} to {said['last']}"
    if said["adds"] is None:
        return line
    count, keys = said["adds"]["values"], "+".join(said["adds"]["keys"])
    return f"{line}: {count} more {'value' if count == 1 else 'values'} of {keys}"


def _print_ends(job: Job, product: Product) -> None:
    for which, indices in (("first", range(len(product))), ("last", range(len(product))[::-1])):
        found = _found(product, indices)
        if found is not None:
            said = {key: value for key, value in short_values(job.spec, found).items() if value is not None}
            shown = {"number": found.number, **said, **found.labels}
            click.echo(f"    {which:<6} {json.dumps(shown, ensure_ascii=False)}")


def _found(product: Product, indices: Sequence[int]) -> Place | None:
    places = (product.place(index) for index in islice(indices, MAX_EMPTY))
    return next((place for place in places if place is not None), None)
