"""Which image of the farm a picture file is: by its bytes, then its pixels, then what it says, then what it looks like.

Metadata may be stripped, the file re-encoded or made smaller. Bytes and pixels are proof; what a file says of itself is
a claim; a perceptual hash is a likeness, so its distance is said and the nearest few are named.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from dispatcher.farm import Farm
from dispatcher.provenance.pixels import pixel_hash, read_rgb
from storage.errors import UnreadableFile
from storage.marks import reading
from storage.phash import phash_of
from storage.pictures import NotAPicture
from storage.spec import digest
from storage.sql import hashes, images
from storage.sql.hashes import Name

NEAREST: Final = 5  # candidates that look alike
FAR: Final = 12  # of 64 bits: from there on pictures are strangers; two unrelated ones differ in about 32
BITS: Final = 64
_SAME: Final = 20  # images of the same bytes or pixels that are named
MAX_FILE: Final = 256 * 2**20  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An image that the file may be."""

    job: str
    number: int
    distance: int | None = None  # bits of the perceptual hash that differ

    @property
    def is_alike(self) -> bool:
        """Whether the picture is known to look like it."""
        return self.distance is not None and self.distance <= FAR


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the file says of itself."""

    record: dict[str, Any] | None = None  # our own JSON
    recipe_hash: str | None = None
    others: dict[str, Any] = field(default_factory=dict)  # what else stands in it: infotext, source type, signature

    def to_json(self) -> dict[str, Any]:
        """For people and scripts."""
        return {"record": self.record, "recipe_hash": self.recipe_hash, **self.others}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of the search."""

    by: str | None  # "file", "pixels", "record", "looks"; None: nothing was found
    candidates: tuple[Candidate, ...]
    said: Said
    searched: int = 0  # perceptual hashes that were compared
    unmeasured: int = 0  # images without one, which no likeness finds


def find_file(farm: Farm, file: Path) -> Finding:
    """Find the image that a picture file shows.

    Args:
        farm: Where to look.
        file: PNG, JPEG, WebP and what else `storage.pictures` reads.

    Raises:
        UnreadableFile: It is no picture.
        DatabaseAway: SQL does not answer.
    """
    data = read_file(file)
    try:
        picture = read_rgb(data)
    except NotAPicture as error:
        raise UnreadableFile(file, str(error)) from None
    said = what_it_says(data)
    with farm.database.read() as connection:
        same = hashes.by_pixels(connection, pixel_hash(picture), limit=_SAME)
        exact = hashes.by_file(connection, hashlib.sha256(data).hexdigest(), limit=_SAME)
        told = [] if said.recipe_hash is None else hashes.by_recipe(connection, said.recipe_hash, limit=_SAME)
    for by, names in (("file", exact), ("pixels", same)):
        if names:
            return Finding(by=by, candidates=_named(names), said=said)
    phash = phash_of(picture)
    near, searched = nearest(farm, phash)
    with farm.database.read() as connection:
        looked: dict[str, Any] = {"said": said, "searched": searched, "unmeasured": hashes.unmeasured(connection)}
        claimed = [_claimed(connection, name, phash) for name in told]
    if alike := [one for one in claimed if one.is_alike]:  # what it says and what it looks like agree
        return Finding(by="record", candidates=tuple(alike), **looked)
    if near:
        return Finding(by="looks", candidates=tuple(near), **looked)
    return Finding(by="record" if claimed else None, candidates=tuple(claimed), **looked)


def read_file(file: Path) -> bytes:
    """The bytes of a picture file. Raises UnreadableFile."""
    try:
        if file.stat().st_size > MAX_FILE:
            raise UnreadableFile(file, f"is larger than {MAX_FILE >> 20} MiB")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableFile(file, (error.strerror or str(error)).lower()) from None


def what_it_says(data: bytes) -> Said:
    """The marks of a file, with the hash of its recipe. Never raises."""
    found = reading.read(data)
    others = {
        "infotext": found.infotext, "digital_source_type": found.source_type, "is_signed": found.is_signed,
    }  # fmt: skip
    recipe = None if found.record is None else found.record.get("recipe")
    told = found.recipe_hash
    if told is None and isinstance(recipe, dict):  # schema 1 had the recipe alone
        told = digest(recipe)
    return Said(record=found.record, recipe_hash=told, others=others)


def nearest(farm: Farm, phash: str, *, most: int = NEAREST, far: int = FAR) -> tuple[list[Candidate], int]:
    """The images that look most alike, the nearest first, and how many were compared.

    Goes over all perceptual hashes of the farm, a page at a time: memory does not grow with them.

    Raises:
        DatabaseAway: SQL does not answer.
    """
    best: list[Candidate] = []
    searched = 0
    for names, distances in _distances(farm, phash):
        searched += len(names)
        bound = best[-1].distance if len(best) == most else far + 1
        hits = (distances < (bound or 0)).nonzero()[0].tolist()
        best += [
            Candidate(job=names[place][0], number=names[place][1], distance=int(distances[place])) for place in hits
        ]
        best = sorted(best, key=lambda one: (one.distance, one.job, one.number))[:most]
    return best, searched


def _distances(farm: Farm, phash: str) -> Iterator[tuple[list[tuple[str, int, str]], Any]]:
    import numpy as np

    wanted = np.uint64(int(phash, 16))
    with farm.database.read() as connection:
        for page in hashes.perceptual(connection):
            packed = np.frombuffer(bytes.fromhex("".join(row[2] for row in page)), dtype=">u8").astype(np.uint64)
            yield page, np.bitwise_count(packed ^ wanted)


def _claimed(connection: Connection, name: Name, phash: str) -> Candidate:
    """An image that a file says it is, and how far it looks from it."""
    image = images.get(connection, name.job, name.number)
    known = None if image is None else image.phash
    distance = None if known is None else (int(known, 16) ^ int(phash, 16)).bit_count()
    return Candidate(job=name.job, number=name.number, distance=distance)


def _named(names: list[Name]) -> tuple[Candidate, ...]:
    return tuple(Candidate(job=name.job, number=name.number) for name in names)
