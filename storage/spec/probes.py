"""A few images that stand for a whole job: every value of every axis once, beside the first of the others."""

from collections.abc import Iterator

from storage.spec.job import Job, Place
from storage.spec.product import Product

MAX_PROBES = 100_000  # values of one axis; a template may have 10**15


def probes(job: Job) -> Iterator[Place]:
    """The first image, then those that differ from it in one axis; so of every part. Empty places are left out.

    What fails for a single value is found so before anything is rendered; what fails for a combination is not.
    """
    for product in job.products:
        yield from _probes_drawn(product) if product.is_drawn else _probes_of(product)


def _probes_of(product: Product) -> Iterator[Place]:
    stride = len(product)
    first = product.place(0)
    if first is not None:
        yield first
    for factor in product.factors:
        stride //= len(factor)
        most = 1 if factor.keys == ("seed",) else MAX_PROBES  # no model refuses a seed
        for index in range(1 if first is not None else 0, min(len(factor), most)):
            found = product.place(index * stride)
            if found is not None:
                yield found


def _probes_drawn(product: Product) -> Iterator[Place]:
    """Of a sample, the images that bring a value which none before them had."""
    seen: set[tuple[int, int]] = set()
    for index in range(min(len(product), MAX_PROBES)):
        digits = zip(product.factors, product.digits(index), strict=True)
        values = {(axis, digit) for axis, (factor, digit) in enumerate(digits) if factor.keys != ("seed",)}
        found = product.place(index) if not index or values - seen else None
        if found is not None:
            seen |= values
            yield found
