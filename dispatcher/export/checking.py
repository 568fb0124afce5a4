"""Whether a finished shard still is what the index says."""

import hashlib
import io

from dispatcher.export.formats import LAYOUTS
from dispatcher.export.index import REJECTED, Shard
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
    return shard.split == REJECTED or not LAYOUTS[format_].places_files or _pictures_are_sound(target, shard)


def _pictures_are_sound(target: Target, shard: Shard) -> bool:
    import pyarrow.parquet

    columns = ["file_name", "sha256_exported"]
    table = pyarrow.parquet.read_table(io.BytesIO(target.get(shard.metadata)), columns=columns)
    for row in table.to_pylist():
        try:
            data = target.get(row["file_name"])
        except BlobMissing:
            return False
        if hashlib.sha256(data).hexdigest() != row["sha256_exported"]:
            return False
    return True
