"""Tables that a job file names: which files they are (found, dataset), their rows (text, arrow), and their hashes."""

from storage.spec.file.tables.source import Tables

__all__ = ["Tables"]
