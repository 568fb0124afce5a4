"""Room on a disk, looked for before gigabytes are fetched; and a lock that the processes of a host share."""

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from storage.errors import DiskFull

log = logging.getLogger(__name__)

SPARE: Final = 256 * 2**20  # bytes to leave free


def require_room(folder: Path, wanted: int) -> None:
    """Raise DiskFull unless `wanted` bytes fit on the volume of `folder`, which need not exist yet."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if free < wanted + SPARE:
        raise DiskFull(f"{folder} ({wanted / 1e9:.1f} GB are wanted, {free / 1e9:.1f} GB are free)")


@contextmanager
def alone(file: Path, *, waiting_for: str) -> Iterator[None]:
    """Hold a lock file; another process of this host that wants it waits. The system frees it when a holder dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("model is fetched by another process of this host", extra={"model": waiting_for})
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
