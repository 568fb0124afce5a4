"""A job gets a longer spec: new input images and the spec into the store, then one change of its row.

Nothing that runs is disturbed. Numbers and positions of what the job had stay, so its cursor stays right; chunks that
are out name the earlier spec, which stays in the store. A job that was done goes on in the dispatcher's next round.
"""

from sqlalchemy import Connection

from dispatcher.inputs import Say, store_inputs
from storage.blobs import BlobStore
from storage.errors import UserError
from storage.spec import Job, Spec
from storage.spec_store import SpecStore
from storage.sql import Database, growth, jobs
from storage.sql.jobs import UNWANTED, JobRow
from storage.sql.tables import job as job_table
from storage.states import JobState, Wish

_AS_NEW = "submit the file as a new job, images that exist are linked"


def check_extensible(row: JobRow) -> None:
    """Refuse a job that was given up. Raises UserError."""
    name = f"job {row.name} ({row.id})"
    if row.state == JobState.CANCELLED or row.wish in UNWANTED:
        raise UserError(f"{name} is cancelled; {_AS_NEW}")
    if row.state == JobState.FAILED:
        raise UserError(f"{name} failed: {row.reason}; 'farm retry {row.id}' first, or {_AS_NEW}")


def store_extension(
    row: JobRow, longer: Spec, *, known: Spec, database: Database, store: BlobStore, say: Say | None = None
) -> JobRow:
    """Make a job longer.

    Args:
        row: The job, as read together with its spec.
        longer: What it is to be.
        known: What it is: its input images are in the store.
        database: Where the row is.
        store: Where input images and spec go, before the row: a row never points to nothing.
        say: Hears how many new input images are in the store.

    Returns:
        The job as it is now.

    Raises:
        UserError: It was given up, or extended by somebody else, in the meantime; or an input image is nowhere.
        StoreAway: Nothing changed.
        DatabaseAway: Nothing changed.
    """
    check_extensible(row)
    new_inputs = {name: facts for name, facts in longer.inputs.items() if name not in known.inputs}
    store_inputs(new_inputs, longer.files, store=store, say=say)
    SpecStore(store).save(row.id, longer)
    job = Job(longer)
    more = job.images - Job(known).images
    with database.write() as connection:
        grew = growth.grow(connection, row, spec_hash=longer.hash, positions=job.positions, images=more)
        now = jobs.get(connection, row.id)
    if not grew:
        check_extensible(now)
        raise UserError(f"job {row.name} ({row.id}) was extended by another command just now; give yours again")
    return now


def reopen_grown(connection: Connection) -> list[str]:
    """Let jobs that were extended after they were done go on; what failed before does not stop them.

    Args:
        connection: A writing transaction of the dispatcher, behind its fence.

    Returns:
        Their ids.
    """
    return [
        job_id
        for job_id in growth.grown_after_end(connection)
        if jobs.enter(
            connection, job_id, JobState.RUNNING, before={JobState.DONE}, reason=None, finished_at=None,
            forgiven=job_table.c.failed, judged=False, wish=Wish.RUN,
        )
    ]  # fmt: skip
