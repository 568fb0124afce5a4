"""64-bit hashes that differ in few bits, found by bands; see `dispatcher.quality.duplicates`. Pure, in numpy."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

BITS: Final = 64
MAX_DISTANCE: Final = 16
_STEP: Final = 32  # hashes of one band that are compared by shifting; more are compared as a block
_BLOCK: Final = 512  # rows and columns of one comparison: two megabytes
_SMALL: Final = 16384  # hashes that are quicker compared than divided

Array = Any  # of numpy, which is imported late: `farm --help` must stay fast


def lowest_near(values: Array, distance: int) -> Array:
    """For each hash the place of the first one within a distance; its own place where none comes before it.

    Args:
        values: uint64, all different.
        distance: How many bits may differ, 0 to 16.
    """
    import numpy as np

    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance = {distance}: must be in [0, {MAX_DISTANCE}]")
    found = np.arange(len(values))
    _divide(values, found.copy(), found, width=BITS, distance=distance)
    return found


class Bands:
    """Sorted bands, to ask about one hash."""

    def __init__(self, values: Array, distance: int) -> None:
        """Sort `values` (uint64) by each band."""
        import numpy as np

        self._values = values
        self._distance = distance
        self._sorted = []
        for low, high in _bands(BITS, distance):
            keys = _key(values, low, high)
            order = np.argsort(keys, kind="stable").astype(np.uint32)
            self._sorted.append((keys[order], order, low, high))

    def lowest_near(self, place: int, *, among: Array) -> int:
        """The first of the hashes marked in `among` that comes before a place and is near; the place if none is."""
        return self._lowest(self._values[place], place, lambda before: among[before])

    def lowest_apart(self, place: int, *, kinds: Array) -> int:
        """The first of all hashes that is near that of a place and of another kind; how many there are if none is."""
        return self._lowest(self._values[place], len(self._values), lambda before: kinds[before] != kinds[place])

    def _lowest(self, value: Array, best: int, admits: Callable[[Array], Array]) -> int:
        """The first near hash before `best` that is admitted, else `best`."""
        import numpy as np

        for candidates in self._sharing(value, best):
            before = candidates[: np.searchsorted(candidates, best)]
            before = before[admits(before)]
            hits = before[np.bitwise_count(self._values[before] ^ value) <= self._distance]
            best = int(hits[0]) if len(hits) else best
        return best

    def _sharing(self, value: Array, best: int) -> Iterator[Array]:
        """Places that share a band with a hash, band by band; all before it where bands would be too narrow."""
        import numpy as np

        for keys, order, low, high in self._sorted:
            key = _key(value, low, high)
            yield order[np.searchsorted(keys, key, side="left") : np.searchsorted(keys, key, side="right")]
        if not self._sorted:
            yield np.arange(best)


def _divide(values: Array, places: Array, found: Array, *, width: int, distance: int) -> None:
    """Compare all that share a band; `values` have `width` bits and stand in the order of their places."""
    import numpy as np

    bands = _bands(width, distance)
    if len(values) <= _SMALL or not bands:
        _compare(values, places, found, distance=distance)
        return
    for low, high in bands:
        keys = _key(values, low, high)
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]], append=~keys[order[-1:]]))
        sizes = np.diff(edges)
        _shift(values, places, found, order=order, edges=edges, distance=distance)
        for run in np.flatnonzero(sizes > _STEP).tolist():
            part = order[edges[run] : edges[run + 1]]
            rest = (values[part] & _mask(low)) | _shifted(values[part] >> np.uint64(high - 1) >> np.uint64(1), low)
            _divide(rest, places[part], found, width=width - high + low, distance=distance)


def _shift(values: Array, places: Array, found: Array, *, order: Array, edges: Array, distance: int) -> None:
    """Compare those that share a band with few others: each with the next one, the one after it, and so on."""
    import numpy as np

    sizes = np.diff(edges)
    last = np.repeat(np.where(sizes <= _STEP, edges[1:], 0), sizes)  # where the run of each ends
    left = np.flatnonzero(np.arange(len(order)) + 1 < last)
    for step in range(1, _STEP):
        left = left[left + step < last[left]]
        if not len(left):
            return
        one, other = order[left], order[left + step]
        is_near = np.bitwise_count(values[one] ^ values[other]) <= distance
        np.minimum.at(found, places[other[is_near]], places[one[is_near]])


def _compare(values: Array, places: Array, found: Array, *, distance: int) -> None:
    """Compare all with all, block by block; whoever found one needs no later one."""
    import numpy as np

    for top in range(0, len(values), _BLOCK):
        rows = np.arange(top, min(top + _BLOCK, len(values)))
        for side in range(0, top + _BLOCK, _BLOCK):
            columns = values[side : min(side + _BLOCK, len(values))]
            is_near = np.bitwise_count(values[rows][:, None] ^ columns[None, :]) <= distance
            hits = is_near.argmax(axis=1)  # the hash itself, at the latest
            has_one = is_near[np.arange(len(rows)), hits]
            mine = places[rows[has_one]]
            found[mine] = np.minimum(found[mine], places[side + hits[has_one]])
            rows = rows[~has_one]
            if not len(rows):
                break


def _bands(width: int, distance: int) -> list[tuple[int, int]]:
    """First bit and the bit after the last one of each band; none where bands would be too narrow to tell much."""
    count = distance + 1
    if width < 2 * count or 2 ** (width // count) < 2 * count:
        return []
    edges = [width * band // count for band in range(count + 1)]
    return list(pairwise(edges))


def _key(values: Array, low: int, high: int) -> Array:
    import numpy as np

    return (values >> np.uint64(low)) & _mask(high - low)


def _mask(bits: int) -> Any:
    import numpy as np

    return np.uint64((1 << bits) - 1)


def _shifted(values: Array, by: int) -> Array:
    import numpy as np

    return values << np.uint64(by)
