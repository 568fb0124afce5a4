"""Images that are the same or look the same, by their hashes. Exact: no pair is missed, none is made up. Pure.

Two hashes that differ in at most d bits agree in at least one of d + 1 bands, since d differences cannot touch them
all. So only hashes that share a band are compared: for d = 4 about 60 of 100,000. Where very many share a band
(pictures that are nearly blank), they are divided by the bits that are left, in the same way. Equal hashes count once.

Images come in an order that the caller gives, ascending by number where nothing else is said. Of all that look like an
image only those before it matter, so what is said of an image stays as it is when others are added behind it.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dispatcher.quality.hashes import BITS, Bands, lowest_near

NumberedHash = tuple[int, str]  # number, perceptual hash as 16 hex digits


@dataclass(frozen=True, slots=True)
class _Looks:
    """Hashes without repetition, in the order in which they first come."""

    numbers: "array[int]"
    values: Any  # uint64, one a different hash
    origins: Any  # of each value: the place of the first image that has it
    kinds: Any  # of each image: the place of its value

    def bits(self, kind: int, other: int) -> int:
        """In how many bits two values differ."""
        return (int(self.values[kind]) ^ int(self.values[other])).bit_count()


def near(numbers_and_hashes: Iterable[NumberedHash], distance: int) -> Iterator[tuple[int, int, int]]:
    """For each image the lowest-numbered one before it that looks like it.

    Args:
        numbers_and_hashes: Number and perceptual hash (16 hex digits), ascending by number.
        distance: How many of 64 bits may differ, 0 to 16.

    Yields:
        Number, lower number, bits that differ; nothing for images without one. Ascending.
    """
    looks = _read(numbers_and_hashes)
    yield from _tell(looks, lowest_near(looks.values, distance))


def near_and_apart(
    numbers_and_hashes: Iterable[NumberedHash], distance: int, kind_of: Callable[[int], Hashable]
) -> Iterator[tuple[int, int, int]]:
    """What `near` finds; and where that is of the image's own kind, the lowest one that is of another kind as well.

    So no likeness between two kinds hides behind one within a kind: each image that has one is told with one.

    Args:
        numbers_and_hashes: As for `near`.
        distance: Likewise.
        kind_of: The kind of the image with a number.
    """
    looks = _read(numbers_and_hashes)
    search: _Apart | None = None
    for number, lower, bits in _tell(looks, lowest_near(looks.values, distance)):
        yield number, lower, bits
        if kind_of(number) == kind_of(lower):
            search = search or _Apart(looks, distance, kind_of)
            yield from search.of(number)


class _Apart:
    """Looks for likenesses between kinds, once for all images of one hash and kind."""

    def __init__(self, looks: _Looks, distance: int, kind_of: Callable[[int], Hashable]) -> None:
        import numpy as np

        known: dict[Hashable, int] = {}
        self._looks = looks
        self._kinds = np.array([known.setdefault(kind_of(number), len(known)) for number in looks.numbers])
        self._bands = Bands(looks.values[looks.kinds], distance)
        self._found: dict[tuple[int, int], int] = {}

    def of(self, number: int) -> Iterator[tuple[int, int, int]]:
        """The lowest image before that one that looks like it and is of another kind."""
        looks, place = self._looks, bisect_left(self._looks.numbers, number)
        look = int(looks.kinds[place])
        key = look, int(self._kinds[place])
        if key not in self._found:
            self._found[key] = self._bands.lowest_apart(place, kinds=self._kinds)
        found = self._found[key]
        if found < place:
            yield number, looks.numbers[found], looks.bits(look, int(looks.kinds[found]))


def near_kept(numbers_and_hashes: Iterable[NumberedHash], distance: int) -> Iterator[tuple[int, int, int]]:
    """Which images to leave out so that no two of the rest look alike.

    Each image stays unless one before it stays and looks like it.

    Args:
        numbers_and_hashes: As for `near`, in any order of numbers.
        distance: Likewise.

    Yields:
        Number of an image that is left out, the first one that stays and looks like it, bits that differ; in order.
    """
    looks = _read(numbers_and_hashes)
    anchors = lowest_near(looks.values, distance)
    kept = anchors == _counted(len(anchors))
    bands = Bands(looks.values, distance)
    for kind in (~kept).nonzero()[0].tolist():
        if not kept[anchors[kind]]:  # what looks like it goes itself; another one may stay
            anchors[kind] = bands.lowest_near(kind, among=kept)
            kept[kind] = anchors[kind] == kind
    yield from _tell(looks, anchors)


def groups(numbers_and_hashes: Iterable[NumberedHash], distance: int) -> list[list[int]]:
    """Images that look alike, gathered: each belongs where the lowest one before it that looks like it belongs.

    Args:
        numbers_and_hashes: As for `near`.
        distance: Likewise.

    Returns:
        Groups of at least two numbers, ascending.
    """
    found: dict[int, list[int]] = {}
    leader: dict[int, int] = {}
    for number, lower, _ in near(numbers_and_hashes, distance):
        leader[number] = leader.get(lower, lower)
        found.setdefault(leader[number], [leader[number]]).append(number)
    return sorted(found.values())


def same(numbers_and_hashes: Iterable[tuple[int, str]]) -> Iterator[tuple[int, int]]:
    """For each image the first one before it with the same pixels.

    Args:
        numbers_and_hashes: Number and SHA-256 of the pixels (hex), in any order of numbers.

    Yields:
        Number, number of the one before it; in order.
    """
    import numpy as np

    numbers, digests = array("q"), bytearray()
    for number, said in numbers_and_hashes:
        numbers.append(number)
        digests += bytes.fromhex(said)
    whole = np.frombuffer(digests, dtype=np.dtype([(name, "<u8") for name in "abcd"]))
    _, origins, kinds = np.unique(whole, return_index=True, return_inverse=True)
    for place, kind in enumerate(kinds.tolist()):
        if origins[kind] != place:
            yield numbers[place], numbers[int(origins[kind])]


def _read(numbers_and_hashes: Iterable[NumberedHash]) -> _Looks:
    import numpy as np

    numbers, hashes = array("q"), array("Q")
    for number, said in numbers_and_hashes:
        numbers.append(number)
        hashes.append(int(said, BITS // 4))
    values, origins, kinds = np.unique(np.frombuffer(hashes, np.uint64), return_index=True, return_inverse=True)
    order = np.argsort(origins)
    rank = np.empty_like(order)
    rank[order] = _counted(len(order))
    return _Looks(numbers, values[order], origins[order], rank[kinds])


def _tell(looks: _Looks, anchors: Any) -> Iterator[tuple[int, int, int]]:
    """Say of each image which one it looks like, by what is known of the values."""
    for place, kind in enumerate(looks.kinds.tolist()):
        anchor = int(anchors[kind])
        origin = int(looks.origins[anchor])
        if origin != place:
            yield looks.numbers[place], looks.numbers[origin], looks.bits(kind, anchor)


def _counted(count: int) -> Any:
    import numpy as np

    return np.arange(count)
