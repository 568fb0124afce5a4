"""Everything that the files of an export say, whatever they are packed in."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image


def words_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Where something stands and what it says: names of files, their bytes as text, and what is packed in them."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        yield name, name
        if path.is_file():
            yield from _words(name, path.read_bytes())


def _words(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    yield name, data.decode(errors="replace")
    yield f"{name} as UTF-16", data.decode("utf-16-be", errors="replace")
    match name.rsplit(".", 1)[-1]:
        case "tar":
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    assert file is not None
                    yield f"{name}/{member.name}", member.name
                    yield from _words(f"{name}/{member.name}", file.read())
        case "parquet":
            yield from _table(name, data)
        case "json" | "jsonl":
            for line in data.decode().splitlines() if name.endswith("jsonl") else [data.decode()]:
                yield name, repr(json.loads(line))
        case "png" | "jpg" | "webp":
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                yield name, repr(picture.info) + repr(getattr(picture, "text", {})) + repr(dict(picture.getexif()))


def _table(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    table = pq.read_table(io.BytesIO(data))
    yield f"{name}: schema", repr(table.schema.metadata) + repr(table.schema)
    for row in table.to_pylist():
        picture = row.pop("image", None)
        yield f"{name}: {row['number']}", repr(row)
        if picture is not None:
            yield from _words(f"{name}: {picture['path']}", picture["bytes"])
