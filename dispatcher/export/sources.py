"""The jobs that an export takes images of, and what all their images have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.export.index import JobPart
from dispatcher.farm import Farm
from storage.errors import InvalidSpec
from storage.spec import Job
from storage.spec.dimension import leaves
from storage.spec.part import walk
from storage.sql import jobs
from storage.sql.jobs import JobRow

# Loaders take columns of these names for pictures.
_SPECIAL = ("file_name", "file_names")


@dataclass(frozen=True, slots=True)
class Source:
    """One job."""

    row: JobRow
    job: Job

    @property
    def part(self) -> JobPart:
        """As the index names it."""
        return JobPart(id=self.row.id, name=self.row.name, spec_hash=self.row.spec_hash)


def sources_of(farm: Farm, names: Sequence[str]) -> list[Source]:
    """The jobs that a user names, in that order.

    Raises:
        UnknownName: There is no such job.
        InvalidSpec: One is named twice, or has no models yet.
    """
    with farm.database.read() as connection:
        rows = [jobs.find(connection, name) for name in names]
    for place, row in enumerate(rows):
        if row.id in {other.id for other in rows[:place]}:
            raise InvalidSpec("JOB", names[place], f"is job {row.id}, which is named before")
        if row.models is None:
            ended = f"and is {row.state}; 'farm why {row.id}' says why"
            says = f"yet; 'farm watch {row.id}' follows it" if row.is_open else ended
            raise InvalidSpec("JOB", names[place], f"has no images {says}")
    return [Source(row, farm.specs.load(row.id, spec_hash=row.spec_hash)) for row in rows]


def labels_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """Names of all labels, sorted. A factor binds the same ones at each of its places."""
    names = {
        name
        for source in sources
        for factors in walk(source.job.spec.dimensions, source.job.spec.parts)
        for factor in leaves(factors)
        if len(factor)
        for name in factor.at(0).labels
    }
    return tuple(sorted(names))


def paths_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """What a job file calls models by, and rows repeat, where that is a place on a host: "/home/me/sd"."""
    models = (item for source in sources for item in source.job.spec.models.items())
    names = {key.removeprefix(f"{facts['kind']}:") for key, facts in models}
    return tuple(sorted(name for name in names if name.startswith(("/", "~"))))


def label_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that get a column of their own; the others stand in `labels` alone."""
    return tuple(name for name in labels if not name.endswith(_SPECIAL))
