"""One garbage collection: what jobs left behind, then what they shared."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from dispatcher.keeping.collecting.judging import Judge, Judged, Verdict, store_now
from dispatcher.keeping.collecting.shared import SharedCollector
from dispatcher.keeping.collecting.tally import Tally
from storage.blobs import BlobInfo, BlobStore
from storage.sql import Database
from storage.wire.notes import JOBS, job_folder

PAGE: Final = 500  # objects that are judged, and then deleted, at a time
HOUR_S: Final = 3600.0
_SHOWN: Final = 5

Say = Callable[[int], None]  # hears how many objects were looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a collection may take."""

    grace_s: float = 24 * HOUR_S  # since an object was written, and since its job was removed
    unknown: bool = False  # whole folders of jobs that the database does not know
    dry_run: bool = False


@dataclass
class Collected:
    """What a collection found."""

    looked_at: Tally = field(default_factory=Tally)  # of jobs
    runs: Tally = field(default_factory=Tally)  # by runs that do not count, or of images that are forgotten
    jobs: Tally = field(default_factory=Tally)  # whole folders
    inputs: Tally = field(default_factory=Tally)
    models: Tally = field(default_factory=Tally)
    in_grace: Tally = field(default_factory=Tally)  # garbage of jobs that is too young
    unknown: Tally = field(default_factory=Tally)  # of jobs that the database seems to have lost
    unknown_jobs: list[str] = field(default_factory=list)  # the first few of them

    @property
    def total(self) -> Tally:
        """What went, or would go."""
        parts = (self.runs, self.jobs, self.inputs, self.models)
        return Tally(sum(part.objects for part in parts), sum(part.bytes for part in parts))

    def add(self, judged: Judged) -> None:
        """Count one object of a job."""
        self.looked_at.add(judged.blob.size)
        kinds = {
            Verdict.LEFT: self.runs, Verdict.REMOVED: self.jobs, Verdict.IN_GRACE: self.in_grace,
            Verdict.UNKNOWN: self.unknown,
        }  # fmt: skip
        if judged.verdict in kinds:
            kinds[judged.verdict].add(judged.blob.size)
        names, name = self.unknown_jobs, judged.place.job
        if judged.verdict == Verdict.UNKNOWN and name not in names[-1:] and len(names) < _SHOWN:
            names.append(name)


def in_pages(blobs: Iterator[BlobInfo], size: int = PAGE) -> Iterator[list[BlobInfo]]:
    """Cut a listing into pages."""
    while page := list(islice(blobs, size)):
        yield page


def collect(database: Database, store: BlobStore, *, wanted: Wanted, say: Say | None = None) -> Collected:
    """Delete what nobody will ask for. Safe beside a running farm, and safe to repeat.

    Args:
        database: The farm's.
        store: Likewise.
        wanted: What may go.
        say: Hears how many objects of jobs were looked at.

    Raises:
        StoreAway: Some of it may be gone; repeat.
        DatabaseAway: Likewise.
        DatabaseUnaware: The database is empty and the store is not.
    """
    before = store_now(store) - wanted.grace_s
    judge = Judge(database, store, before=before, unknown=wanted.unknown)
    found = _collect_under(JOBS, judge, store, dry_run=wanted.dry_run, say=say)
    shared = SharedCollector(database, store, before=before)
    shared.collect(inputs=found.inputs, models=found.models, dry_run=wanted.dry_run)
    return found


def collect_removed(database: Database, store: BlobStore, job_id: str) -> Collected:
    """Delete the objects of a removed job without any grace; what other jobs link to stays.

    Raises:
        StoreAway: Some of it may be gone; repeat.
        DatabaseAway: Likewise.
    """
    judge = Judge(database, store, before=float("inf"))
    return _collect_under(job_folder(job_id), judge, store, dry_run=False, say=None)


def _collect_under(prefix: str, judge: Judge, store: BlobStore, *, dry_run: bool, say: Say | None) -> Collected:
    found = Collected()
    for page in in_pages(store.list(prefix)):
        judged = judge.judge(page)
        for one in judged:
            found.add(one)
        if not dry_run:
            store.delete([one.blob.key for one in judged if one.goes])
        if say is not None:
            say(found.looked_at.objects)
    if not dry_run:
        store.delete(judge.emptied())
    return found
