"""What the store holds, by job and by kind, from one listing."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dispatcher.keeping.collecting.garbage import HOUR_S, in_pages
from dispatcher.keeping.collecting.judging import Judge, Judged, Verdict, store_now
from dispatcher.keeping.collecting.shared import INPUTS
from dispatcher.keeping.collecting.tally import Tally
from dispatcher.keeping.places import MANIFEST
from storage.blobs import BlobStore
from storage.models.archive import ROOT
from storage.sql import Database
from storage.wire.notes import JOBS, job_folder

GRACE_S = 24 * HOUR_S  # that `farm gc` gives where nobody says otherwise


@dataclass
class JobUsage:
    """What one job has in the store."""

    job: str
    images: Tally = field(default_factory=Tally)
    previews: Tally = field(default_factory=Tally)
    manifests: Tally = field(default_factory=Tally)
    notes: Tally = field(default_factory=Tally)  # specs included
    garbage: Tally = field(default_factory=Tally)  # that the next collection takes
    in_grace: Tally = field(default_factory=Tally)  # garbage that a later one takes
    unknown: Tally = field(default_factory=Tally)  # all of it, where the database knows no such job

    def add(self, judged: Judged) -> None:
        """Count one object."""
        self._kind(judged).add(judged.blob.size)

    @property
    def total(self) -> Tally:
        """All of it."""
        return total_of([getattr(self, name) for name in KINDS])

    def _kind(self, judged: Judged) -> Tally:
        by_verdict = {Verdict.UNKNOWN: self.unknown, Verdict.IN_GRACE: self.in_grace}
        if judged.goes or judged.verdict in by_verdict:
            return by_verdict.get(judged.verdict, self.garbage)
        if judged.place.kind != "run":
            return self.notes
        if judged.place.name == MANIFEST:
            return self.manifests
        return self.previews if judged.place.is_preview else self.images


KINDS = ("images", "previews", "manifests", "notes", "garbage", "in_grace", "unknown")


@dataclass
class Usage:
    """What the store holds."""

    jobs: dict[str, JobUsage] = field(default_factory=dict)
    inputs: Tally = field(default_factory=Tally)
    models: Tally = field(default_factory=Tally)

    @property
    def total(self) -> Tally:
        """All of it."""
        return total_of([*(usage.total for usage in self.jobs.values()), self.inputs, self.models])


def total_of(parts: Iterable[Tally]) -> Tally:
    """The sum of several tallies."""
    whole = Tally()
    for part in parts:
        whole.objects += part.objects
        whole.bytes += part.bytes
    return whole


def measure(database: Database, store: BlobStore, *, job_id: str | None = None) -> Usage:
    """Count what is there; of one job only, if it is named.

    Raises:
        StoreAway: The store does not answer.
        DatabaseAway: SQL does not.
        DatabaseUnaware: The database is empty and the store is not.
    """
    usage = Usage()
    judge = Judge(database, store, before=store_now(store) - GRACE_S)
    for page in in_pages(store.list(JOBS if job_id is None else job_folder(job_id))):
        for judged in judge.judge(page):
            usage.jobs.setdefault(judged.place.job, JobUsage(judged.place.job)).add(judged)
    for prefix, tally in ((INPUTS, usage.inputs), (ROOT, usage.models)) if job_id is None else ():
        for blob in store.list(prefix):
            tally.add(blob.size)
    return usage
