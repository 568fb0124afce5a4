"""Images of a job as files in a folder, with readable names, while it renders and afterwards."""

import errno
from contextlib import suppress
from pathlib import Path

from dispatcher.views.naming import file_name
from storage.blobs import BlobStore
from storage.errors import DiskFull, UserError
from storage.spec.number import show_number
from storage.sql import Database, images
from storage.sql.images import ImageRow

PAGE = 500
SHOWN = 64
START = (0.0, -1)  # before every image


class FolderRefused(UserError):
    """Images cannot be written there. Args: folder, reason."""

    text = "{0}: {1}"


class Gallery:
    """A folder that follows a job. Calling `fill` again writes only what is new."""

    def __init__(self, folder: Path, *, pattern: str, database: Database, store: BlobStore) -> None:
        self.folder = folder
        self._pattern = pattern
        self._database = database
        self._store = store
        self._written: dict[str, int] = {}  # name -> number
        self._mark = START
        self._seen: set[int] = set()

    @property
    def count(self) -> int:
        """Files written or found already there."""
        return len(self._seen)

    def fill(self, job_id: str, *, again: bool = False) -> list[bytes]:
        """Write the images recorded since the last call.

        Args:
            job_id: The job.
            again: Look at all of them again: a clock that was set back may have hidden some.

        Returns:
            The bytes of the newest ones, oldest first.

        Raises:
            FolderRefused: Two images would get one name, or the folder cannot be written.
            DiskFull: No room.
            StoreAway: The store does not answer.
        """
        newest: list[bytes] = []
        if again:
            self._mark = START
        while True:
            with self._database.read() as connection:
                page = images.recorded_after(connection, job_id, self._mark, limit=PAGE)
            for row in page:
                if row.number not in self._seen:
                    newest = [*newest[1 - SHOWN :], self._write(row)]
            if page:
                self._mark = (page[-1].recorded_at, page[-1].number)
            if len(page) < PAGE:
                return newest

    def _write(self, row: ImageRow) -> bytes:
        name = file_name(self._pattern, row)
        if self._written.setdefault(name, row.number) != row.number:
            other, number = show_number(self._written[name]), show_number(row.number)
            raise FolderRefused(name, f"images {other} and {number} would share this name; add {{number}} to --name")
        assert row.key is not None
        data = self._store.get(row.key)
        write_file(self.folder / name, data)
        self._seen.add(row.number)
        return data


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises DiskFull, FolderRefused."""
    draft = path.with_name(f".{path.name[:200]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(path) from None
        raise FolderRefused(path, (error.strerror or str(error)).lower()) from None
