"""What a job says of one recipe key: every value once, as eight bytes of hash, so that long axes stay small. Pure."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_intdigest

from storage.spec import Job, canonical
from storage.spec.dimension import Chain, Derived, Factor, leaves
from storage.spec.dimension import Values as Listed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Saying:
    """The values of a key by their positions: those of an axis in its order, a fixed one alone.

    Of derived seeds it is how they are made, which is one value.
    """

    def __init__(self, job: Job, key: str) -> None:
        self._key = key
        factors = [leaf for product in job.products for leaf in leaves(product.factors) if key in leaf.keys]
        assert not any(isinstance(factor, Chain) for factor in factors)  # leaves go into them
        once = {id(factor): factor for factor in factors}  # products of a job that has grown share theirs
        self.pieces: list[Factor] = list(once.values()) or [Listed(key, (job.spec.fixed.get(key),))]

    def __len__(self) -> int:
        """How many there are; one that is said twice counts twice."""
        return sum(map(_size, self.pieces))

    def lacks(self, other: "Saying") -> "NDArray[np.int64]":
        """Where the values stand that the other does not say; of one that is said twice the first position."""
        import numpy as np

        hashes, firsts = self._hashes
        lacking: NDArray[np.int64] = np.sort(firsts[~np.isin(hashes, other._hashes[0], assume_unique=True)])
        return lacking

    def at(self, position: int) -> Any:
        """The value at a position."""
        for piece in self.pieces:
            if position < _size(piece):
                return self._value(piece, position)
            position -= _size(piece)
        raise IndexError(position)

    @cached_property
    def _hashes(self) -> "tuple[NDArray[np.uint64], NDArray[np.int64]]":
        """Of the values' canonical spellings, sorted, and where each first stands."""
        import numpy as np

        found = np.fromiter(map(xxh3_64_intdigest, map(canonical, self._values())), dtype=np.uint64, count=len(self))
        hashes, firsts = np.unique(found, return_index=True)
        return hashes, firsts

    def _values(self) -> Iterator[Any]:
        return (self._value(piece, place) for piece in self.pieces for place in range(_size(piece)))

    def _value(self, piece: Factor, place: int) -> Any:
        if isinstance(piece, Derived):
            first = f" from {piece.start} on" if piece.start else ""
            return f"{piece.count} derived{first}, over {', '.join(piece.over) or 'nothing'}, job seed {piece.job_seed}"
        return piece.at(place).values[self._key]


def _size(piece: Factor) -> int:
    return 1 if isinstance(piece, Derived) else len(piece)
