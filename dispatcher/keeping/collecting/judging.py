"""Which objects of jobs are in use, and which are garbage that is old enough to go.

Of a job that SQL knows, only what runs left behind is judged: of chunks in a final state, older than the grace by the
store's own clock, and named by no image row of any job. A chunk's rows are committed with its final state, so whatever
a row will ever name of that chunk, it names by then. A link copies keys that a row names, in a transaction of the
dispatcher, and rows go in transactions that wait for those: a key that no row names stays so.

Of a job that SQL does not know, everything goes if its rows were removed on purpose (the store says so), and a spec
that stands alone (a submission that broke off). Anything else looks like a database that lost a job, and stays.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from dispatcher.keeping.places import KeyPlace, names_of, place_of
from storage.blobs import BlobInfo, BlobStore
from storage.errors import PermanentError
from storage.sql import Database
from storage.sql.keeping import garbage
from storage.sql.keeping.garbage import ChunkHead, JobHead
from storage.states import ChunkState
from storage.wire.notes import dropped_key, removed_key

CLOCK: Final = "gc/clock"  # an object that is put only to see what time the store thinks it is


class Verdict(StrEnum):
    """What becomes of an object."""

    IN_USE = "in use"
    LEFT = "left"  # by a run that does not count, or of an image that is forgotten
    REMOVED = "removed"  # with its whole job
    IN_GRACE = "in grace"  # garbage that is too young
    UNKNOWN = "unknown"  # of a job that the database seems to have lost


class Judged(NamedTuple):
    """An object and its verdict."""

    blob: BlobInfo
    place: KeyPlace
    verdict: Verdict

    @property
    def goes(self) -> bool:
        """Whether it is garbage and old enough."""
        return self.verdict in (Verdict.LEFT, Verdict.REMOVED)


class DatabaseUnaware(PermanentError):
    """The store holds jobs, the database knows none of them. Args: database address, a job."""

    text = (
        "database {0} knows no job, and the store holds {1} and maybe more: nothing is collected; "
        "'farm rebuild' makes the rows anew, or set FARM_DATABASE_URL to the right database"
    )


def store_now(store: BlobStore) -> float:
    """What time the store thinks it is, Unix seconds. Raises StoreAway, DiskFull."""
    store.put(CLOCK, b"")
    found = store.head(CLOCK)
    assert found is not None
    return found.modified


class Judge:
    """Passes over what lies under `jobs/` in key order, page by page."""

    def __init__(self, database: Database, store: BlobStore, *, before: float, unknown: bool = False) -> None:
        """Say what may go.

        Args:
            database: The farm's.
            store: Likewise.
            before: Only what became garbage before this moment, Unix seconds of the store.
            unknown: Whole folders of jobs that the database does not know, too, if they are younger than it.
        """
        self._database = database
        self._store = store
        self._before = before
        self._unknown = unknown
        self._end: tuple[str, float | None] = ("", None)  # the job asked about last, and what `_ended` gave
        self._folder: tuple[str, bool] = ("", False)  # the job that is passed now, and if it holds more than specs
        self._kept: dict[str, int] = {}  # removed job -> objects of it that stay
        with database.read() as connection:
            self._oldest = garbage.oldest_job(connection)

    def judge(self, page: Sequence[BlobInfo]) -> list[Judged]:
        """Judge some objects as of right now.

        Raises:
            DatabaseUnaware: The database is empty and the store is not.
            DatabaseAway: SQL does not answer.
            StoreAway: The store does not.
        """
        places = [place_of(blob.key) for blob in page]
        runs = [(blob.key, place) for blob, place in zip(page, places, strict=True) if place.kind == "run"]
        with self._database.read() as connection:
            jobs = garbage.job_heads(connection, {place.job for place in places if place.job})
            chunks = garbage.chunk_heads(connection, {(place.job, place.chunk) for _, place in runs})
        with self._database.read() as connection:  # later: a chunk that was final then has all its rows now
            named = garbage.named_keys(connection, {name for key, _ in runs for name in names_of(key)})
        judged = []
        for blob, place in zip(page, places, strict=True):
            head = jobs.get(place.job)
            if head is None:
                verdict = self._of_lost_job(blob, place, is_named=blob.key in named)
            elif place.kind != "run" or blob.key in named:
                verdict = Verdict.IN_USE
            else:
                verdict = self._of_run(blob, place, head, chunks.get((place.job, place.chunk)))
            judged.append(Judged(blob, place, verdict))
        return judged

    def emptied(self) -> list[str]:
        """The notes of removal of jobs of which nothing else is left; they go last."""
        return [removed_key(job) for job, kept in self._kept.items() if kept == 0]

    def _of_run(self, blob: BlobInfo, place: KeyPlace, job: JobHead, chunk: ChunkHead | None) -> Verdict:
        """Judge an object of a known job that no row names."""
        if chunk is not None and not chunk.is_final:
            return Verdict.IN_USE
        if chunk is not None and place.is_manifest and _may_count(blob.key, chunk):
            return Verdict.IN_USE
        since = self._ended(place.job, dropped_key(place.job)) if job.is_dropped else 0.0
        return self._by_age(blob, Verdict.LEFT, since=since)

    def _of_lost_job(self, blob: BlobInfo, place: KeyPlace, *, is_named: bool) -> Verdict:
        if place.job != self._folder[0]:
            self._folder = (place.job, False)
        removed = self._ended(place.job, removed_key(place.job))
        if removed is not None:
            return self._of_removed_job(blob, place, is_named=is_named, removed=removed)
        if self._oldest is None:
            raise DatabaseUnaware(self._database.address, place.job)
        is_alone = place.is_spec and not self._folder[1]  # in key order, specs come after everything else of a job
        self._folder = (place.job, not is_alone)
        if is_named:
            return Verdict.IN_USE
        if (is_alone or self._unknown) and blob.modified >= self._oldest:
            return self._by_age(blob, Verdict.REMOVED)
        return Verdict.UNKNOWN

    def _of_removed_job(self, blob: BlobInfo, place: KeyPlace, *, is_named: bool, removed: float) -> Verdict:
        self._kept.setdefault(place.job, 0)
        if blob.key == removed_key(place.job):
            return Verdict.IN_USE  # as long as anything else is there
        verdict = Verdict.IN_USE if is_named else self._by_age(blob, Verdict.REMOVED, since=removed)
        self._kept[place.job] += verdict != Verdict.REMOVED
        return verdict

    def _by_age(self, blob: BlobInfo, verdict: Verdict, *, since: float | None = 0.0) -> Verdict:
        """Give garbage its grace, counted from when it was written and from what made it garbage."""
        goes = since is not None and max(blob.modified, since) < self._before
        return verdict if goes else Verdict.IN_GRACE

    def _ended(self, job: str, key: str) -> float | None:
        """When a note was written that gives up a job's images; None if there is none."""
        if job != self._end[0]:
            note = self._store.head(key)
            self._end = (job, None if note is None else note.modified)
        return self._end[1]


def _may_count(key: str, chunk: ChunkHead) -> bool:
    """Whether a manifest may be the one that counts; a farm of before did not write down which one it is."""
    if chunk.manifest is None:
        return chunk.state == ChunkState.DONE and chunk.kind != "link"
    return key == chunk.manifest
