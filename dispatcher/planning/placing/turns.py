"""Whose turn it is: classes, ageing and fair share. Pure: times are arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from storage.states import Priority

RANKS: Final[Mapping[Priority, int]] = {rank: place for place, rank in enumerate(Priority)}  # 0 goes first
CLASSES: Final = tuple(Priority)


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """Where a job stands among those that want a device. The smaller one goes first, field by field."""

    rank: int  # of its class, after ageing
    user_in_flight: int  # chunks of its user that workers have
    user_since: float  # since when its user waits for a device, Unix seconds
    in_flight: int  # chunks of this job that workers have
    age: int  # 0 is the oldest job

    @property
    def order(self) -> tuple[int, int, float, int, int]:
        """To sort by. Users with as many chunks take turns, so that an odd number of places is shared evenly too."""
        return self.rank, self.user_in_flight, self.user_since, self.in_flight, self.age


def rank_of(priority: Priority, *, waited_s: float, ageing_s: float) -> int:
    """The rank of a job's class. Who got nothing for long counts one class higher, but never as interactive.

    Args:
        priority: Its class.
        waited_s: Seconds since it last got a device, or since it was submitted.
        ageing_s: How long is too long.
    """
    rank = RANKS[priority]
    return rank - 1 if waited_s >= ageing_s and rank > RANKS[Priority.NORMAL] else rank
