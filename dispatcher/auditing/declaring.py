"""Which images of a job share their starting noise because the job says so. Pure.

Noise depends on seed and size alone. A job says where each image's seed comes from, its origin:

    fixed           one seed for all images: they all share it
    axis, range     a place of the seed axis: shared along every other axis
    zip, rows       a row: shared along the axes that the zip or table is crossed with, never between rows
    derived         a replicate and the values of the `over` keys: shared along every key that is not among them

A take of an image has its image's origin and its own number of tries. Two images of one origin share noise by
declaration. Two of one noise and different origins do not, and neither do images of different jobs.
"""

from bisect import bisect_right
from collections.abc import Hashable
from typing import Final

from storage.spec import Job, digest
from storage.spec.dimension import Chain, Factor, Zipped
from storage.spec.number import number_of, place_of, take_of
from storage.spec.product import Product, find_derived

SEED: Final = "seed"


class Origins:
    """Where the seeds of a job come from."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._firsts = [product.first for product in job.products]
        self._pieces: dict[int, int] = {}  # id of a piece of the seed axis -> its number among them
        self._held: list[Factor] = []  # so that no id is given out twice

    def of(self, number: int) -> Hashable:
        """The origin of an image's seed: equal for two images of this job that share it by declaration."""
        place, take = place_of(number), take_of(number)
        product = self._job.products[bisect_right(self._firsts, place) - 1]
        found = _seed_factor(product, place - product.first)
        if found is None:
            return "fixed", take
        factor, digit = _piece(*found)
        derived = find_derived([factor])
        if derived is None:
            return "at", self._number_of(factor), digit, take
        values = self._job[number_of(place, take=0)]
        assert values is not None  # of an image that was made
        over = digest([values.values.get(key) for key in derived.over])
        return "derived", over, values.replicate, take

    def _number_of(self, piece: Factor) -> int:
        if id(piece) not in self._pieces:
            self._pieces[id(piece)] = len(self._pieces)
            self._held.append(piece)
        return self._pieces[id(piece)]


def how_declared(job: Job) -> str:
    """Where the seeds of a job come from, in a few words."""
    factor = next((one for one in job.products[0].factors if SEED in one.keys), None)
    derived = None if factor is None else find_derived([factor])
    if factor is None:
        return f"seed {job.spec.fixed.get(SEED)} for all images"
    if derived is not None:
        return f"seeds derived over {', '.join(derived.over) or 'nothing'}"
    kind = "zip" if isinstance(factor, Zipped) else "rows"
    return "a seed axis" if len(factor.keys) == 1 else f"seeds bound by {kind} with {_others(factor)}"


def shared_along(job: Job) -> list[str]:
    """The axes along which images share noise by declaration: those of more than one value."""
    factors = job.products[-1].factors
    seeds = next((one for one in factors if SEED in one.keys), None)
    derived = None if seeds is None else find_derived([seeds])
    over = set() if derived is None else set(derived.over)
    found = []
    for factor in factors:
        keys = [key for key in factor.keys if key != SEED and key not in over]
        bound = seeds is factor and derived is None  # a row says seed and key together
        if len(factor) > 1 and keys and not bound:
            found += keys
    return found


def _others(factor: Factor) -> str:
    return ", ".join(key for key in factor.keys if key != SEED)


def _seed_factor(product: Product, index: int) -> tuple[Factor, int] | None:
    """The factor that binds the seed, and which of its places an image has."""
    for factor, digit in zip(product.factors, product.digits(index), strict=True):
        if SEED in factor.keys:
            return factor, digit
    return None


def _piece(factor: Factor, digit: int) -> tuple[Factor, int]:
    """The piece of an axis that has grown, and the place in it."""
    if not isinstance(factor, Chain):
        return factor, digit
    for piece in factor.pieces:
        if digit < len(piece):
            return piece, digit
        digit -= len(piece)
    raise IndexError(digit)
