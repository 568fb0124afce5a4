"""Which images of a job stand for all of them. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random


def spread(numbers: Sequence[int], *, count: int, seed: int) -> list[int]:
    """Draw `count` numbers, one from each of as many strata of equal size.

    Numbers count in declared order, so neighbours share prompt, scheduler and so on: strata see to it that the draw
    reaches every part of a job. The same numbers, count and seed give the same draw.
    """
    wanted = min(count, len(numbers))
    chance = Random(seed)  # noqa: S311  # to be repeatable, not secret
    edges = [len(numbers) * part // wanted for part in range(wanted + 1)] if wanted else []
    return [numbers[chance.randrange(low, high)] for low, high in pairwise(edges)]
