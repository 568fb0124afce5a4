"""Jobs, chunks, images and links made anew from what lies in the store, into an empty database.

What counts is what the dispatcher noted there after its commits: `job.json` and a note a chunk, with the manifests they
name. What was under way when the database was lost is rendered again: such a job comes back paused, its cursor behind
the last image that is known, and whatever is missing before it in chunks that are ready.

Not in the store: users, budgets, attempts and other history, names of registered models.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from pydantic import ValidationError

from dispatcher.keeping.places import place_of
from dispatcher.keeping.rebuilding.jobrows import JobRows
from dispatcher.wording import counted
from storage.blobs import BlobInfo, BlobStore
from storage.errors import PermanentError, UserError
from storage.spec import Job
from storage.spec_store import SpecStore
from storage.sql import Database, jobs
from storage.sql.keeping import checks, rebuilding
from storage.wire.notes import JOBS, JobNote, dropped_key, job_note_key, removed_key

_NOTE: Final = "notes/"
_SPARE: Final = 1000  # numbers of chunks that the lost database may have issued, and that left nothing in the store

Say = Callable[[str, int, int], None]  # hears (job, its images that are known, of how many)


@dataclass
class JobFolder:
    """What a listing shows of one job."""

    job: str
    notes: list[int] = field(default_factory=list)  # numbers of chunks that are noted
    chunks: int = 0  # one more than the highest number that any object of it carries
    names: set[str] = field(default_factory=set)  # of job.json and the like

    def add(self, blob: BlobInfo) -> None:
        """Take in one object."""
        place = place_of(blob.key)
        if place.kind == "run":
            self.chunks = max(self.chunks, place.chunk + 1)
        elif place.name.startswith(_NOTE):
            number = place.name.removeprefix(_NOTE).removesuffix(".json")
            if number.isdecimal():
                self.notes.append(int(number))
                self.chunks = max(self.chunks, int(number) + 1)
        else:
            self.names.add(blob.key)


@dataclass
class Rebuilt:
    """What came of it."""

    jobs: int = 0
    images: int = 0
    paused: list[str] = field(default_factory=list)  # jobs with images left to render
    removed: int = 0  # folders of jobs that were removed on purpose
    known: int = 0  # jobs that an earlier call made already
    troubles: list[str] = field(default_factory=list)  # what could not be read, in sentences


def rebuild(
    database: Database, store: BlobStore, *, user: str, dry_run: bool = False, say: Say | None = None
) -> Rebuilt:
    """Make rows of every job that the store knows. Safe to repeat: jobs that are there are passed over.

    Args:
        database: An empty one, or one that an earlier call left unfinished.
        store: What it is made from.
        user: Who the jobs belong to from now on.
        dry_run: Say what would come of it, and write nothing.
        say: Hears of every job.

    Raises:
        UserError: The database holds jobs of its own.
        StoreAway: Jobs are made whole or not at all; repeat.
        DatabaseAway: Likewise.
    """
    done, specs = Rebuilt(), SpecStore(store)
    with database.read() as connection:
        if count := rebuilding.strange_jobs(connection):
            raise UserError(
                f"database {database.address} holds {counted(count, 'job')} of its own: must be empty; "
                "set FARM_DATABASE_URL to a new one"
            )
        known = {row.id for row in jobs.listing(connection, limit=2**31)}
    for folder in folders(store):
        if removed_key(folder.job) in folder.names:
            done.removed += 1
        elif folder.job in known:
            done.known += 1
        elif (read := _read(folder, store, specs, done)) is not None:
            _rebuild_one(database, store, folder, read, done=done, user=user, dry_run=dry_run, say=say)
    return done


def folders(store: BlobStore) -> Iterator[JobFolder]:
    """Every job that has anything in the store. Raises StoreAway."""
    for job_id, blobs in groupby(store.list(JOBS), key=lambda blob: place_of(blob.key).job):
        folder = JobFolder(job_id)
        for blob in blobs:
            folder.add(blob)
        if job_id:
            yield folder


def _read(folder: JobFolder, store: BlobStore, specs: SpecStore, done: Rebuilt) -> tuple[JobNote, Job] | None:
    if job_note_key(folder.job) not in folder.names:
        if folder.chunks:
            done.troubles.append(f"job {folder.job}: has no job.json in the store, so nobody knows what it was")
        return None
    try:
        note = JobNote.model_validate_json(store.get(job_note_key(folder.job)))
        return note, specs.load(folder.job, spec_hash=note.spec_hash)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]["msg"]
        done.troubles.append(f"job {folder.job}: job.json cannot be read: {first}")
    except PermanentError as error:
        done.troubles.append(f"job {folder.job}: {error}")
    return None


def _rebuild_one(  # noqa: PLR0913  # what a job is made of, and where what came of it goes
    database: Database, store: BlobStore, folder: JobFolder, read: tuple[JobNote, Job], *, done: Rebuilt, user: str,
    dry_run: bool, say: Say | None,
) -> None:  # fmt: skip
    note, job = read
    rows = JobRows(note, job, store, is_dropped=dropped_key(folder.job) in folder.names, troubles=done.troubles)
    with database.write() as connection:
        rows.write(connection, user=user, notes=sorted(folder.notes), chunks=folder.chunks + _SPARE)
        sums = checks.sums(connection, note.id)
        assert sums is not None
        if dry_run:
            connection.rollback()
    done.jobs += 1
    done.images += sums.done_rows
    if rows.is_paused:
        done.paused.append(note.id)
    if say is not None:
        say(note.name, sums.done_rows, sums.images)
