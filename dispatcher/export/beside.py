"""What the files beside a table must hold, by its rows: the pictures that it names, and their captions.

A caption is made of its row alone, so its hash is known without a read, and a file that was damaged, edited or emptied
since differs from it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dispatcher.export.formats.folder import caption_name
from dispatcher.export.index import Index
from dispatcher.export.loading import Caption, caption_of
from dispatcher.export.options import DEFAULT_CAPTION
from dispatcher.provenance.columns import NAMES
from storage.errors import UnknownName

_PICTURE: Final = ("file_name", "sha256_exported")


def columns_beside(index: Index) -> list[str]:
    """The columns of a table that `hashes_beside` reads."""
    if not _has_captions(index):
        return list(_PICTURE)
    column = _column(index)
    return list(dict.fromkeys((*_PICTURE, column if column in NAMES else "labels")))


def hashes_beside(index: Index, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of every file that rows stand for; a row of what was not exported has none."""
    lying = [row for row in rows if row["file_name"] is not None]
    yield from ((row["file_name"], row["sha256_exported"]) for row in lying if row["sha256_exported"] is not None)
    if _has_captions(index):
        for row, text in zip(lying, _captions(index, lying), strict=True):
            yield caption_name(row["file_name"]), hashlib.sha256(text.encode()).hexdigest()


def _captions(index: Index, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    labels = [json.loads(row.get("labels") or "{}") for row in rows]
    names = {*index.labels, *(name for said in labels for name in said)}  # the index lacks those without a column
    try:
        caption = caption_of(_column(index), "--caption", labels=sorted(names))
    except UnknownName:  # a label that none of these images has
        caption = Caption(column=_column(index), is_label=True)
    return (caption.of(row, said) for row, said in zip(rows, labels, strict=True))


def _has_captions(index: Index) -> bool:
    return index.format == "folder" and bool(index.options.get("captions"))


def _column(index: Index) -> str:
    return str(index.options.get("caption", DEFAULT_CAPTION))
