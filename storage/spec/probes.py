"""A few images that stand for a whole job: every value of every axis once, beside the first of the others."""

from collections.abc import Iterator

from storage.spec.job import Job, Place

MAX_PROBES = 100_000  # values of one axis; a template may have 10**15


def probes(job: Job) -> Iterator[Place]:
    """The first image, then those that differ from it in one axis. Empty places are left out.

    What fails for a single value is found so before anything is rendered; what fails for a combination is not.
    """
    stride = len(job)
    first = job[0]
    if first is not None:
        yield first
    for dimension in job.spec.dimensions:
        stride //= len(dimension)
        for place in range(1 if first is not None else 0, min(len(dimension), MAX_PROBES)):
            found = job[place * stride]
            if found is not None:
                yield found
