"""What readers of tables say when a column is not there."""

from collections.abc import Sequence


class NoColumn(Exception):
    """A table lacks a column. Args: its name, the names that the table has."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = list(known)
