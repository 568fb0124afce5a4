"""Counting objects."""

from dataclasses import dataclass

from dispatcher.wording import counted, human


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
        return f"{counted(self.objects, 'object')}, {human(self.bytes)}"
