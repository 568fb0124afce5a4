"""A random sample of a product that is too large to render: which places it has, found one by one. All pure.

The places are cut into as many strata as the sample has images, and each stratum gives one place. So the sample
spreads over every axis more evenly than single draws would, no place comes twice, and place `p` of the sample is
found without the others. The strata begin at an offset that is drawn too: then each place of the product has the same
chance, also where the strata cannot have one size. See Madow 1949, "On the theory of systematic sampling, II".
"""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Draw:
    """`count` of `places`, rising; equal arguments give equal places, on every machine."""

    count: int
    seed: int
    places: int  # at least `count`
    _offset: int = field(init=False, repr=False)
    _first: int = field(init=False, repr=False)  # the stratum that gives the lowest place

    def __post_init__(self) -> None:
        object.__setattr__(self, "_offset", self._hash("offset") % self.places)
        turn = self.places - self._offset  # strata from here on give the places below the offset
        stratum = min((turn * self.count) // self.places, self.count - 1)
        while stratum > 0 and self._start(stratum) > turn:
            stratum -= 1
        while stratum < self.count and self._pick(stratum) < turn:
            stratum += 1
        object.__setattr__(self, "_first", stratum)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> int:
        """The place that comes at `position` in [0, count)."""
        stratum = (self._first + range(self.count)[position]) % self.count
        return (self._pick(stratum) + self._offset) % self.places

    def _pick(self, stratum: int) -> int:
        start, stop = self._start(stratum), self._start(stratum + 1)
        return start + self._hash(stratum) % (stop - start)

    def _start(self, stratum: int) -> int:
        return stratum * self.places // self.count

    def _hash(self, what: int | str) -> int:
        """256 bits: a remainder of them is even, however many places there are."""
        return int.from_bytes(hashlib.sha256(f"draw {self.seed} {what}".encode()).digest())
