"""Checking the whole farm: every job, then what belongs to none."""

from collections.abc import Iterator

from dispatcher.keeping.checking.check import Checker
from dispatcher.keeping.checking.problem import Problem
from dispatcher.keeping.checking.strangers import strangers
from storage.blobs import BlobStore
from storage.errors import UnknownName
from storage.sql import Database, jobs
from storage.sql.keeping import checks


def check_all(database: Database, store: BlobStore, checker: Checker, *, name: str | None = None) -> Iterator[Problem]:
    """Everything wrong with a job that a user names, or with all of them and the rest of the store.

    Raises:
        UnknownName: There is no such job.
        StoreAway: The store does not answer.
        DatabaseAway: SQL does not.
        DatabaseUnaware: The database is empty and the store is not.
    """
    if name is not None:
        with database.read() as connection:
            row = jobs.find(connection, name)
        yield from checker.check(row.id)
        return
    with database.read() as connection:
        ids = checks.job_ids(connection)
    for job_id in ids:
        try:
            yield from checker.check(job_id)
        except UnknownName:  # removed meanwhile
            continue
    yield from strangers(database, store)
