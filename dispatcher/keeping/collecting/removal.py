"""Jobs that are removed: their rows at once, their objects later.

The store is told first, so that the collector knows a removed job from one that the database lost. The rows go in
pages, each in a transaction of its own that the dispatcher's wait for: a link to an image is made either before its row
goes, and then names the object, or never.

What other jobs link to stays in the store as long as they do.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy import Connection

from dispatcher.service.recording.noting import write_note
from storage.blobs import BlobStore
from storage.errors import UserError
from storage.sql import Database, jobs
from storage.sql.jobs import JobRow
from storage.sql.keeping import garbage
from storage.states import Wish
from storage.wire.notes import EndNote, removed_key

PAGE: Final = 2000  # rows of one transaction


def remove(database: Database, store: BlobStore, row: JobRow, *, keep_objects: bool = False) -> None:
    """Forget a job that ended. Safe to repeat after an error.

    Args:
        database: The farm's.
        store: Likewise.
        row: The job.
        keep_objects: Leave what lies in the store for good, so that `farm rebuild` can make the rows anew.

    Raises:
        UserError: It is open, or was taken up again meanwhile.
        StoreAway: Nothing was removed.
        DatabaseAway: Some rows may be gone; repeat.
    """
    with _final(database, row) as connection:
        jobs.wish(connection, row.id, Wish.DROP)  # whoever submits the same file from now on gets another job
    if not keep_objects:
        write_note(store, removed_key(row.id), EndNote(job=row.id, at=time.time()))
    for delete in (garbage.remove_images, garbage.remove_chunks):
        gone = PAGE
        while gone == PAGE:
            with _final(database, row) as connection:
                gone = delete(connection, row.id, limit=PAGE)
    with _final(database, row) as connection:
        garbage.remove_job(connection, row.id)


def remove_older(database: Database, store: BlobStore, age_s: float, *, dry_run: bool = False) -> list[str]:
    """Forget all jobs that ended longer ago. Returns their ids.

    Raises:
        StoreAway: Some may be removed; repeat.
        DatabaseAway: Likewise.
    """
    with database.read() as connection:
        ids = garbage.ended_before(connection, time.time() - age_s)
        rows = [jobs.get(connection, job_id) for job_id in ids]
    for row in rows if not dry_run else ():
        with suppress(UserError):  # somebody took it up again just now
            remove(database, store, row)
    return ids


def check_ended(row: JobRow) -> None:
    """Raise UserError unless a job has ended."""
    if row.is_open:
        raise UserError(f"job {row.name} ({row.id}) is {row.state}: must have ended; 'farm cancel {row.id}' first")


@contextmanager
def _final(database: Database, row: JobRow) -> Iterator[Connection]:
    """A transaction in which the job has ended, and no transaction of the dispatcher is under way."""
    with database.write() as connection:
        garbage.hold_lead(connection)
        check_ended(jobs.get(connection, row.id))
        yield connection
