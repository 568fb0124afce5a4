"""A frozen spec becomes a job: input images and spec into the store, then one row into SQL, whatever the job's size."""

import time
from dataclasses import dataclass, replace

from dispatcher.inputs import Say, store_inputs
from dispatcher.planning.terms import Terms
from dispatcher.quality.verdicts import has_rules
from storage.blobs import BlobStore
from storage.errors import PermanentError, UserError
from storage.settings import Settings
from storage.spec import Job, Spec
from storage.spec.growth import extend
from storage.spec_store import SpecStore
from storage.sql import Database, jobs
from storage.sql.jobs import JobRow, NewJob
from storage.states import Reuse
from storage.wire.keys import new_id

NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Submission:
    """What `submit` did."""

    row: JobRow
    is_new: bool
    is_longer: bool = False  # it is known, and was extended since the spec that was given


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
        new: Make another job even if this spec has one that is open or done, or had one that was extended since.
        say: Hears how many input images are in the store.
        terms: Priority, deadline and budget; of a job that is known already, those that are said are changed.

    Raises:
        UserError: An input image is nowhere, or its file has changed since the spec was frozen.
        StoreAway: Nothing was queued.
        DatabaseAway: Nothing was queued.
    """
    spec_hash = spec.hash
    if not new:
        known = _known(spec, settings=settings, database=database, store=store)
        if known is not None:
            longer = known.spec_hash != spec_hash and known.images > Job(spec).images
            return Submission(_on_terms(database, known, terms), is_new=False, is_longer=longer)
    store_inputs(spec.inputs, spec.files, store=store, say=say)
    row = _new_job(spec, spec_hash, user=settings.user, source=source, new=new)
    SpecStore(store).save(row.id, spec)
    with database.write() as connection:
        jobs.add(connection, replace(row, **terms.said()))
        return Submission(jobs.get(connection, row.id), is_new=True)


def _known(spec: Spec, *, settings: Settings, database: Database, store: BlobStore) -> JobRow | None:
    """The job that has this spec, had it before it was extended, or was extended to all that it asks for."""
    with database.read() as connection:
        known = jobs.same_spec(connection, spec.hash, user=settings.user)
        grown = [] if known is not None else jobs.extended(connection, spec.name, user=settings.user)
    return known or next((row for row in grown if _has_all(row, spec, settings=settings, store=store)), None)


def _has_all(row: JobRow, spec: Spec, *, settings: Settings, store: BlobStore) -> bool:
    try:
        known = SpecStore(store).load(row.id, spec_hash=row.spec_hash).spec
        return extend(known, spec, max_images=settings.max_images) is known
    except (UserError, PermanentError):  # another job of that name, or its spec is gone
        return False


def _on_terms(database: Database, row: JobRow, terms: Terms) -> JobRow:
    if not terms.said():
        return row
    with database.write() as connection:
        jobs.change(connection, row.id, **terms.said())
        return jobs.get(connection, row.id)


def _new_job(spec: Spec, spec_hash: str, *, user: str, source: str, new: bool) -> NewJob:
    job = Job(spec)
    reuse = Reuse.OFF if new else Reuse(spec.reuse)  # who asks for another job wants its images rendered
    return NewJob(
        id=new_id(), name=spec.name, user=user, source=source, spec_hash=spec_hash, positions=job.positions,
        images=job.images, created_at=time.time(), reuse=reuse,
        has_rules=has_rules(spec),
    )  # fmt: skip
