"""A few images spread over the whole set, as one picture. Shards are opened, not loaded; at most a few of them."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from PIL import Image, ImageOps

if TYPE_CHECKING:
    import pyarrow as pa

from dispatcher.export.index import Index
from dispatcher.export.targets import FolderTarget, Target
from dispatcher.sheet.picture import decode, flatten
from storage.errors import BlobMissing

COUNT: Final = 24  # images at most
_COLUMNS: Final = 8
_EDGE: Final = 128  # pixels of a tile
_GAP: Final = 4
_FETCHED: Final = 64 * 2**20  # bytes of a shard that is read over a network to show an image of it
_SUFFIXES: Final = ("png", "jpg", "jpeg", "webp")


def sample(target: Target, index: Index) -> bytes | None:
    """The PNG of up to 24 images in the order of the set; None if none can be shown.

    Args:
        target: Where the export is.
        index: Of it.
    """
    found = list(_pictures(target, index))
    return _together(found) if found else None


def places(rows: Sequence[int], count: int = COUNT) -> Iterator[tuple[int, int]]:
    """Which images to show: shard and place in it, evenly spread over shards of so many rows."""
    total = sum(rows)
    wanted = min(count, total)
    shard, before = 0, 0
    for turn in range(wanted):
        place = (2 * turn + 1) * total // (2 * wanted)
        while place >= before + rows[shard]:
            before += rows[shard]
            shard += 1
        yield shard, place - before


def _pictures(target: Target, index: Index) -> Iterator[Image.Image]:
    names = sorted(index.shards)
    wanted: dict[str, list[int]] = {}
    for shard, place in places([index.shards[name].rows for name in names]):
        wanted.setdefault(names[shard], []).append(place)
    for name, rows in wanted.items():
        for data in _of_shard(target, index, name, rows):
            with suppress(Exception):  # decoders answer broken bytes with errors of every kind
                yield flatten(decode(data)[0], ground="white")


def _of_shard(target: Target, index: Index, name: str, rows: Sequence[int]) -> Iterator[bytes]:
    if not name.endswith(".tar") and index.format != "parquet":
        yield from _lying(target, index, name, rows)
        return
    file = _open(target, name)
    if file is not None:
        with file:
            yield from (_in_tar if name.endswith(".tar") else _in_parquet)(file, rows)


def _open(target: Target, name: str) -> BinaryIO | None:
    """A shard to seek in; None if it is far away and large."""
    if isinstance(target, FolderTarget):
        return (target.root / name).open("rb")
    size = target.size(name)
    return io.BytesIO(target.get(name)) if size is not None and size <= _FETCHED else None


def _in_tar(file: BinaryIO, rows: Sequence[int]) -> Iterator[bytes]:
    place = -1
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if not member.name.endswith(_SUFFIXES) or "." not in member.name:
                continue
            if member.name.partition(".")[2] not in _SUFFIXES:
                continue  # a mask or preview beside the image
            place += 1
            if place in rows and (found := tar.extractfile(member)) is not None:
                yield found.read()
            if place >= rows[-1]:
                return


def _in_parquet(file: BinaryIO, rows: Sequence[int]) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    parquet, first = pq.ParquetFile(file), 0
    for group in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        here = [row - first for row in rows if first <= row < first + count]
        if here:
            images: pa.Table = parquet.read_row_group(group, columns=["image"])
            yield from (images["image"][row].as_py()["bytes"] for row in here)
        first += count


def _lying(target: Target, index: Index, name: str, rows: Sequence[int]) -> Iterator[bytes]:
    """Pictures that lie as files; the table of their rows names them. One that is not there is passed over."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(target.get(index.shards[name].metadata)), columns=["file_name"])
    files = [file for file in table["file_name"].to_pylist() if file is not None]
    for file in (files[row] for row in rows if row < len(files)):
        with suppress(BlobMissing):
            yield target.get(file)


def _together(pictures: Sequence[Image.Image]) -> bytes:
    """Tiles of one size, cropped to their middle squares."""
    lines = -(-len(pictures) // _COLUMNS)
    columns = -(-len(pictures) // lines)  # nine are five and four, not eight and one
    step = _EDGE + _GAP
    sheet = Image.new("RGB", (columns * step - _GAP, lines * step - _GAP), "white")
    for place, picture in enumerate(pictures):
        resample = Image.Resampling.NEAREST if max(picture.size) <= _EDGE // 2 else Image.Resampling.LANCZOS
        tile = ImageOps.fit(picture, (_EDGE, _EDGE), resample)
        sheet.paste(tile, (place % columns * step, place // columns * step))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()
