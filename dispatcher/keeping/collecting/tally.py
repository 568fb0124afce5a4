"""Counting objects, and saying sizes to people."""

from dataclasses import dataclass


@dataclass
class Tally:
    """Objects and bytes of one kind."""

    objects: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one object."""
        self.objects += 1
        self.bytes += size

    def __str__(self) -> str:
        return f"{self.objects} object{'' if self.objects == 1 else 's'}, {human(self.bytes)}"


def human(count: int) -> str:
    """Bytes as a person reads them, in powers of 1000."""
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} B"
