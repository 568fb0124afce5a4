"""Putting right what a check found wrong: never by guessing, and never against a running dispatcher.

Every repair is a transaction of its own that waits for the dispatcher's, looks again, and changes only what still is as
it was found. An image whose object is lost is looked for among the other runs of its chunk; one that lies nowhere fails
with the reason `lost_object`, and `farm retry` renders it again. What links to it shares its fate.
"""

import hashlib
from contextlib import suppress
from typing import Final

from dispatcher.keeping.checking.gaps import fill
from dispatcher.keeping.places import place_of
from dispatcher.service.recording.noting import job_note, write_note
from dispatcher.wording import counted
from storage.blobs import BlobStore
from storage.errors import BlobMissing
from storage.spec.number import TAKE
from storage.spec_store import SpecStore
from storage.sql import Database, chunks, events, jobs
from storage.sql.chunks import ChunkRow
from storage.sql.images import ImageRow
from storage.sql.keeping import checks, garbage, notes
from storage.states import ChunkState, JobState
from storage.wire.notes import job_folder, job_note_key

LOST: Final = "lost_object"  # why such an image failed


class Repairer:
    """Repairs, one kind of problem a method; each says in a few words what it did."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store
        self._specs = SpecStore(store)

    def image(self, row: ImageRow) -> str:
        """An image whose object is missing or of other bytes."""
        assert row.key is not None
        found = self._elsewhere(row)
        with self._database.write() as connection:
            garbage.hold_lead(connection)
            namers = checks.namers(connection, row.key)
            notes.mark_noted(connection, {(namer.job, namer.chunk) for namer in namers}, noted=False)
            if found is not None:
                run = found.split("/")[2]
                attempt = int(run.partition(".")[2].partition("-")[0])
                checks.point_elsewhere(connection, row.key, found, run=run.partition("-")[2], attempt=attempt)
                return f"{counted(len(namers), 'row')} {'names' if len(namers) == 1 else 'name'} {found} now"
            detail = f"{row.key} is not in the store as it was recorded; 'farm retry' renders it again"
            for job_id in sorted({namer.job for namer in namers}):
                events.add(connection, job_id, LOST, row.key)
            checks.fail_lost(connection, row.key, reason=LOST, detail=detail)
            for job_id in sorted({namer.job for namer in namers}):
                checks.count_again(connection, job_id)
        return f"{counted(len(namers), 'image')} failed as {LOST}; 'farm retry' renders them again"

    def preview(self, row: ImageRow) -> str:
        """A strip of steps that is not there."""
        assert row.key is not None
        assert row.preview_key is not None
        with self._database.write() as connection:
            garbage.hold_lead(connection)
            namers = checks.namers(connection, row.key)
            notes.mark_noted(connection, {(namer.job, namer.chunk) for namer in namers}, noted=False)
            checks.forget_preview(connection, row.key, row.preview_key)
        return "its row names none any more"

    def manifest(self, row: ChunkRow) -> str:
        """A manifest that counts and is not there."""
        with self._database.write() as connection:
            garbage.hold_lead(connection)
            checks.forget_manifest(connection, row.job, row.number)
        return "the chunk's note will tell its images instead"

    def chunk_note(self, row: ChunkRow) -> str:
        """A note about a chunk."""
        with self._database.write() as connection:
            garbage.hold_lead(connection)
            notes.mark_noted(connection, [row.id], noted=False)
        return "the dispatcher writes it again"

    def job_note(self, job_id: str) -> str:
        """The note about a job."""
        with self._database.read() as connection:
            row = jobs.get(connection, job_id)
            plans = jobs.plans(connection, [job_id]).get(job_id, {})
        write_note(self._store, job_note_key(job_id), job_note(row, plans))
        return "written again"

    def counters(self, job_id: str) -> str:
        """Counters that differ from the rows."""
        with self._database.write() as connection:
            garbage.hold_lead(connection)
            checks.count_again(connection, job_id)
        return "counted again"

    def gap(self, job_id: str) -> str | None:
        """Images that nobody speaks of; None if there is nothing to do about it."""
        with self._database.read() as connection:
            seen = jobs.get(connection, job_id)
        job = self._specs.load(job_id, spec_hash=seen.spec_hash)
        with self._database.write() as connection:
            garbage.hold_lead(connection)
            row = jobs.get(connection, job_id)
            if row.models is None or row.spec_hash != seen.spec_hash:
                return None
            covered = set(checks.image_numbers(connection, job_id))
            for state in (ChunkState.READY, ChunkState.ISSUED):
                for chunk in chunks.in_state(connection, state, job_id=job_id):
                    covered.update(chunk.numbers)
            made = fill(connection, row, job, below=row.cursor, covered=covered)
            takes = sum(number >= TAKE for number in covered)  # one that nobody speaks of is decided upon once more
            jobs.change(connection, job_id, images=job.images + takes, judged=False)
            jobs.enter(connection, job_id, JobState.RUNNING, before=[JobState.DONE], finished_at=None)
        return f"{counted(len(made), 'chunk')} more"

    def _elsewhere(self, row: ImageRow) -> str | None:
        """Another object of the same image with the recorded bytes: what a run left that did not count."""
        assert row.key is not None
        place = place_of(row.key)
        if place.kind != "run":
            return None
        for blob in self._store.list(f"{job_folder(place.job)}{place.chunk}."):
            if blob.key != row.key and place_of(blob.key).name == place.name and blob.size == row.bytes:
                with suppress(BlobMissing):
                    if hashlib.sha256(self._store.get(blob.key)).hexdigest() == row.sha256:
                        return blob.key
        return None
