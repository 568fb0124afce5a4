"""Noise and pictures that occur more than once in jobs, and which of that the jobs declare."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from dispatcher.auditing.columns import Columns
from dispatcher.auditing.declaring import Origins, how_declared, shared_along
from dispatcher.farm import Farm
from dispatcher.provenance.rows import image_id
from dispatcher.quality.duplicates import near_and_apart, same
from storage.spec import Job
from storage.spec.number import place_of
from storage.sql import hashes
from storage.sql.jobs import JobRow


class Kind(StrEnum):
    """What two images have in common."""

    NOISE = "noise"  # seed and size
    EXACT = "exact duplicate"  # every pixel
    NEAR = "near duplicate"  # their looks


@dataclass(frozen=True, kw_only=True, slots=True)
class Collision:
    """Two images that share what no job declares."""

    kind: Kind
    one: str  # image ids
    other: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.one} and {self.other}: {self.detail}"


@dataclass
class Declared:
    """What a job says its images share."""

    job: str
    name: str
    seeds: str  # where they come from
    along: list[str]  # axes
    noises: int = 0  # that several images share
    images: int = 0  # that share theirs with another one


@dataclass
class Audit:
    """What came of an audit."""

    images: int = 0  # looked at: made, and not rejected
    rejected: int = 0  # left out
    failed: int = 0
    declared: list[Declared] = field(default_factory=list)
    near_declared: int = 0  # near duplicates that share noise by declaration
    unlooked: int = 0  # images without a perceptual hash
    collisions: list[Collision] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many collisions of each kind there are."""
        return {str(kind): sum(one.kind == kind for one in self.collisions) for kind in Kind}


def audit(farm: Farm, rows: Sequence[JobRow], *, distance: int) -> Audit:
    """Look for noise and pictures that occur twice, within jobs and between them.

    Args:
        farm: Where they are.
        rows: The jobs.
        distance: Bits of the perceptual hash in which near duplicates differ at most, 0 to 16.

    Raises:
        DatabaseAway: SQL does not answer.
        StoreAway: A spec could not be read.
    """
    specs = [farm.specs.load(row.id, spec_hash=row.spec_hash) for row in rows]
    found, columns = Audit(), Columns()
    with farm.database.read() as connection:
        for place, row in enumerate(rows):
            for image in hashes.noises(connection, row.id):
                if place_of(image.number) < len(specs[place]):  # the job may have been extended just now
                    columns.add(place, image)
            rejected, failed = hashes.rejected_or_failed(connection, row.id)
            found.rejected += rejected
            found.failed += failed
    found.images = len(columns)
    found.unlooked = len(columns) - sum(columns.has_looks)
    _Auditor(columns, rows, specs, found).look(distance)
    return found


class _Auditor:
    """Goes over the columns, kind by kind."""

    def __init__(self, columns: Columns, rows: Sequence[JobRow], specs: Sequence[Job], found: Audit) -> None:
        self._columns = columns
        self._rows = rows
        self._origins = [Origins(job) for job in specs]
        self._found = found
        found.declared = [
            Declared(job=row.id, name=row.name, seeds=how_declared(job), along=shared_along(job))
            for row, job in zip(rows, specs, strict=True)
        ]

    def look(self, distance: int) -> None:
        if not len(self._columns):
            return
        self._found.collisions += self._noise()
        exact = dict(same(self._columns.pixel_hashes()))
        self._found.collisions += [
            self._collision(Kind.EXACT, lower, entry, self._exact_detail(lower, entry))
            for entry, lower in exact.items()
        ]
        for entry, lower, bits in near_and_apart(self._columns.perceptual_hashes(), distance, self._noise_of):
            if exact.get(entry, entry) == exact.get(lower, lower):
                continue
            if self._share(lower, entry):
                self._found.near_declared += 1
            else:
                self._found.collisions.append(
                    self._collision(Kind.NEAR, lower, entry, f"their perceptual hashes differ in {bits} of 64 bits")
                )

    def _noise(self) -> Iterator[Collision]:
        for entries in self._columns.same_noise():
            by_origin: dict[Hashable, list[int]] = {}
            for entry in entries:
                by_origin.setdefault(self._origin(entry), []).append(entry)
            for members in by_origin.values():
                if len(members) > 1:
                    mine = self._found.declared[self._columns.jobs[members[0]]]
                    mine.noises += 1
                    mine.images += len(members)
            first, *others = by_origin.values()
            for members in others:
                seed, size = self._columns.seeds[members[0]], self._columns.sizes[members[0]]
                many = f", in {len(first)} and {len(members)} images" if len(first) + len(members) > 2 else ""
                detail = f"seed {seed} at {size >> 32}x{size & 0xFFFFFFFF}{many}"
                yield self._collision(Kind.NOISE, first[0], members[0], detail + self._linked(first[0], members[0]))

    def _origin(self, entry: int) -> tuple[int, Hashable]:
        job = self._columns.jobs[entry]
        return job, self._origins[job].of(self._columns.numbers[entry])

    def _share(self, one: int, other: int) -> bool:
        """Whether two images share noise by declaration."""
        return self._noise_of(one) == self._noise_of(other)

    def _noise_of(self, entry: int) -> Hashable:
        """What images have in common that share noise by declaration."""
        return self._columns.seeds[entry], self._columns.sizes[entry], self._origin(entry)

    def _exact_detail(self, one: int, other: int) -> str:
        return f"all pixels are equal{self._linked(one, other)}"

    def _linked(self, one: int, other: int) -> str:
        links, named = self._columns.links, {self._name(one), self._name(other)}
        is_link = any(entry in links and image_id(*links[entry]) in named for entry in (one, other))
        return "; one is a link to the other" if is_link else ""

    def _name(self, entry: int) -> str:
        return image_id(self._rows[self._columns.jobs[entry]].id, self._columns.numbers[entry])

    def _collision(self, kind: Kind, one: int, other: int, detail: str) -> Collision:
        return Collision(kind=kind, one=self._name(one), other=self._name(other), detail=detail)


def to_json(found: Audit) -> dict[str, Any]:
    """An audit for scripts."""
    rest = {name: getattr(found, name) for name in ("images", "rejected", "failed", "unlooked", "near_declared")}
    return {
        **rest, "declared": [asdict(one) for one in found.declared], "counts": found.counts(),
        "collisions": [asdict(one) for one in found.collisions],
    }  # fmt: skip
