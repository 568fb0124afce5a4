"""A frozen spec becomes a job: input images and spec into the store, then one row into SQL, whatever the job's size."""

import time
from dataclasses import dataclass, replace

from dispatcher.inputs import Say, store_inputs
from dispatcher.planning.terms import Terms
from storage.blobs import BlobStore
from storage.settings import Settings
from storage.spec import Job, Spec
from storage.spec_store import SpecStore
from storage.sql import Database, jobs
from storage.sql.jobs import JobRow, NewJob
from storage.wire.keys import new_id

NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Submission:
    """What `submit` did."""

    row: JobRow
    is_new: bool


def submit(  # noqa: PLR0913  # what a job is made of, and an ear for how far it is
    spec: Spec,
    *,
    settings: Settings,
    database: Database,
    store: BlobStore,
    source: str,
    new: bool = False,
    say: Say | None = None,
    terms: Terms = NO_TERMS,
) -> Submission:
    """Store a job, or find the one that this spec already has.

    Args:
        spec: Frozen.
        settings: For the user's name.
        database: Where the row goes.
        store: Where input images and spec go, before the row: a row never points to nothing.
        source: The words after ./farm that go on with this job.
        new: Make another job even if this spec has one that is open or done.
        say: Hears how many input images are in the store.
        terms: Priority, deadline and budget; of a job that is known already, those that are said are changed.

    Raises:
        UserError: An input image is nowhere, or its file has changed since the spec was frozen.
        StoreAway: Nothing was queued.
        DatabaseAway: Nothing was queued.
    """
    spec_hash = spec.hash
    if not new:
        with database.read() as connection:
            known = jobs.same_spec(connection, spec_hash, user=settings.user)
        if known is not None:
            return Submission(_on_terms(database, known, terms), is_new=False)
    store_inputs(spec.inputs, spec.files, store=store, say=say)
    row = _new_job(spec, spec_hash, user=settings.user, source=source)
    SpecStore(store).save(row.id, spec)
    with database.write() as connection:
        jobs.add(connection, replace(row, **terms.said()))
        return Submission(jobs.get(connection, row.id), is_new=True)


def _on_terms(database: Database, row: JobRow, terms: Terms) -> JobRow:
    if not terms.said():
        return row
    with database.write() as connection:
        jobs.change(connection, row.id, **terms.said())
        return jobs.get(connection, row.id)


def _new_job(spec: Spec, spec_hash: str, *, user: str, source: str) -> NewJob:
    job = Job(spec)
    return NewJob(
        id=new_id(), name=spec.name, user=user, source=source, spec_hash=spec_hash, positions=job.positions,
        images=job.images, created_at=time.time(),
    )  # fmt: skip
