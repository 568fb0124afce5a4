"""Whether a finished shard still is what the index says."""

import hashlib
import io

from dispatcher.export.beside import columns_beside, hashes_beside
from dispatcher.export.formats import LAYOUTS
from dispatcher.export.index import INDEX, REJECTED, Index, Shard
from dispatcher.export.targets import Target
from storage.errors import BlobMissing


def sound(target: Target, name: str, shard: Shard, *, format_: str, read: bool) -> bool:
    """Whether a shard and its table are there with the size recorded and, if they are to be read, the hashes.

    Raises:
        StoreAway: The bucket does not answer.
    """
    if target.size(name) != shard.file_bytes or not target.exists(shard.metadata):
        return False
    if not read:
        return True
    if target.sha256(name) != shard.sha256 or target.sha256(shard.metadata) != shard.metadata_sha256:
        return False
    return shard.split == REJECTED or not LAYOUTS[format_].places_files or _files_are_sound(target, shard)


def _files_are_sound(target: Target, shard: Shard) -> bool:
    """Whether the pictures beside a table, and their captions, are what its rows say."""
    import pyarrow.parquet

    index = Index.decode(target.get(INDEX), place=f"{target.address}/{INDEX}")  # for its options
    table = pyarrow.parquet.read_table(io.BytesIO(target.get(shard.metadata)), columns=columns_beside(index))
    for name, sha256 in hashes_beside(index, table.to_pylist()):
        try:
            data = target.get(name)
        except BlobMissing:
            return False
        if hashlib.sha256(data).hexdigest() != sha256:
            return False
    return True
