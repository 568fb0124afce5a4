"""Parquet and arrow files, read by a process of their own; see `child`."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from storage.errors import UnreadableFile
from storage.spec.file.tables.columns import NoColumn
from storage.spec.file.tables.found import Found

MAX_ROWS: Final = 10_000_000  # of one source


def rows_of(
    files: Sequence[Found], columns: Sequence[str], *, limit: int, max_bytes: int
) -> Iterator[tuple[Found, str | None, list[Any]]]:
    """Rows of these files, some at a time.

    Args:
        files: Parquet or arrow files that all have these columns.
        columns: In the order of the cells.
        limit: How many rows at most.
        max_bytes: Of the cells of all files.

    Yields:
        The file, its SHA-256 where it has ended (then there are no rows), rows.

    Raises:
        NoColumn: A file lacks one.
        UnreadableFile: A file is damaged, too large, or of a kind that is not read.
    """
    request = {
        "files": [str(one.path) for one in files], "columns": list(columns), "limit": limit, "max_bytes": max_bytes,
    }  # fmt: skip
    at, sent = 0, 0
    for message in _answers(request):
        if "rows" in message:
            sent += len(message["rows"])
            yield files[at], None, message["rows"]
            continue
        _raise_of(message, files)
        yield files[at], message["sha256"], []
        at += 1
    if at < len(files) and sent < limit:
        raise UnreadableFile(files[at].path, "cannot be read: it is damaged, or wants more memory than it gets")


def _answers(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the process says; where it dies, the answers end early."""
    command = [sys.executable, "-X", "utf8", "-P", "-m", "storage.spec.file.tables.child"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told, tempfile.TemporaryFile() as complaints:
        json.dump(request, told)
        told.seek(0)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=told, stdout=pipe, stderr=complaints, encoding="utf-8") as child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    if line.endswith("\n"):
                        yield json.loads(line)
            finally:
                child.kill()


def _raise_of(message: dict[str, Any], files: Sequence[Found]) -> None:
    if "refused" in message:
        raise UnreadableFile(files[message["refused"]].path, message["why"])
    if "missing" in message:
        raise NoColumn(message["column"], message["known"])
