"""Queries by what images are: their hashes, seeds and recipes, over one job or all of them, in few bytes a row."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Select, bindparam, func, select, tuple_, update

from storage.sql.tables import image
from storage.states import ImageState

_PAGE = 20_000
_MADE = (image.c.state == ImageState.DONE, image.c.key.is_not(None))


class Name(NamedTuple):
    """An image among all of a farm."""

    job: str
    number: int


class Noise(NamedTuple):
    """What starting noise an image has, and what it looks like."""

    number: int
    seed: int
    width: int
    height: int
    phash: str | None
    pixel_sha256: str | None
    linked_job: str | None
    linked_number: int | None


def numbers(connection: Connection, job_id: str) -> list[int]:
    """Numbers of all images of a job that have a row, ascending."""
    query = select(image.c.number).where(image.c.job == job_id).order_by(image.c.number)
    return list(connection.execute(query).scalars())


def numbers_made(connection: Connection, job_id: str) -> list[int]:
    """Numbers of the images of a job that lie in the store, ascending."""
    query = select(image.c.number).where(image.c.job == job_id, *_MADE).order_by(image.c.number)
    return list(connection.execute(query).scalars())


def noises(connection: Connection, job_id: str) -> Iterator[Noise]:
    """The images of a job that were made and not rejected, by number, read in pages."""
    columns = [image.c[name] for name in Noise._fields]
    after = -1
    while True:
        query = select(*columns).where(image.c.job == job_id, image.c.number > after, *_MADE)
        query = query.where(image.c.rejected.is_(None)).order_by(image.c.number).limit(_PAGE)
        page = [Noise(*row) for row in connection.execute(query)]
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].number


def by_pixels(connection: Connection, pixel_sha256: str, *, limit: int) -> list[Name]:
    """Images of exactly these pixels, the first made first."""
    return _names(connection, select(image.c.job, image.c.number).where(image.c.pixel_sha256 == pixel_sha256), limit)


def by_file(connection: Connection, sha256: str, *, limit: int) -> list[Name]:
    """Images whose file has exactly these bytes. Goes over all rows: nothing else asks for it."""
    return _names(connection, select(image.c.job, image.c.number).where(image.c.sha256 == sha256), limit)


def by_recipe(connection: Connection, recipe_hash: str, *, limit: int) -> list[Name]:
    """Images of one recipe, the first made first."""
    return _names(connection, select(image.c.job, image.c.number).where(image.c.recipe_hash == recipe_hash), limit)


def perceptual(connection: Connection) -> Iterator[list[tuple[str, int, str]]]:
    """Job, number and perceptual hash of every image that has one, in pages."""
    after = Name("", -1)
    while True:
        query = select(image.c.job, image.c.number, image.c.phash).where(
            tuple_(image.c.job, image.c.number) > tuple_(*after), image.c.phash.is_not(None)
        )
        rows = connection.execute(query.order_by(image.c.job, image.c.number).limit(_PAGE)).all()
        if rows:
            yield [(row[0], row[1], row[2]) for row in rows]
        if len(rows) < _PAGE:
            return
        after = Name(rows[-1][0], rows[-1][1])


def unmeasured(connection: Connection) -> int:
    """How many images that lie in the store have no perceptual hash: they were made before there were any."""
    query = select(func.count()).select_from(image).where(*_MADE, image.c.phash.is_(None))
    return int(connection.execute(query).scalar_one())


def measure(connection: Connection, job_id: str, found: Mapping[int, str]) -> None:
    """Write down perceptual hashes of a job's images that have none."""
    if found:
        mine = (image.c.job == job_id, image.c.number == bindparam("of", type_=image.c.number.type))
        connection.execute(
            update(image).where(*mine, image.c.phash.is_(None)).values(phash=bindparam("look")),
            [{"of": number, "look": look} for number, look in found.items()],
        )


def recipes_shared(connection: Connection, one: str, other: str) -> int:
    """How many different recipes two jobs both have."""
    both = _recipes(one).intersect(_recipes(other)).subquery()
    return int(connection.execute(select(func.count()).select_from(both)).scalar_one())


def recipes_of(connection: Connection, job_id: str) -> int:
    """How many different recipes a job has."""
    return int(connection.execute(select(func.count()).select_from(_recipes(job_id).subquery())).scalar_one())


def only_in(connection: Connection, one: str, other: str, *, limit: int) -> list[int]:
    """The first images of a job whose recipes another one does not have."""
    theirs = image.alias("theirs")
    same = select(theirs.c.number).where(theirs.c.job == other, theirs.c.recipe_hash == image.c.recipe_hash)
    query = select(image.c.number).where(image.c.job == one, ~same.exists()).order_by(image.c.number).limit(limit)
    return list(connection.execute(query).scalars())


def rejected_or_failed(connection: Connection, job_id: str) -> tuple[int, int]:
    """How many images of a job were rejected, and how many failed."""
    counts = [
        func.count().filter(image.c.rejected.is_not(None)),
        func.count().filter(image.c.state == ImageState.FAILED),
    ]
    row = connection.execute(select(*counts).where(image.c.job == job_id)).one()
    return int(row[0]), int(row[1])


def _recipes(job_id: str) -> Select[tuple[str]]:
    return select(image.c.recipe_hash).where(image.c.job == job_id).distinct()


def _names(connection: Connection, query: Select[tuple[str, int]], limit: int) -> list[Name]:
    oldest = query.where(*_MADE).order_by(image.c.recorded_at, image.c.job).limit(limit)
    return [Name(job=row.job, number=row.number) for row in connection.execute(oldest).all()]
