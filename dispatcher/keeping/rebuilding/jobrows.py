"""The rows of one job, made from its notes and the manifests that they name."""

import time
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from dispatcher.keeping.checking.gaps import fill, frontier
from dispatcher.quality.verdicts import has_rules
from dispatcher.service.recording.describing import describe, image_rows
from storage.blobs import BlobStore
from storage.errors import BlobMissing
from storage.spec import Job, ModelFacts, Numbers, digest
from storage.spec.number import TAKE
from storage.sql import chunks, events, jobs
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import NewJob
from storage.sql.keeping import checks, rebuilding
from storage.sql.lookups import environment_id, plan_id
from storage.states import ChunkState, JobState, Wish
from storage.wire.messages import FLAGS, Manifest
from storage.wire.notes import ChunkNote, JobNote, NotedImage, chunk_note_key

_UNSAID = ("render_s", "encode_s", "upload_s")


class JobRows:
    """Writes a job as the store tells of it."""

    def __init__(self, note: JobNote, job: Job, store: BlobStore, *, is_dropped: bool, troubles: list[str]) -> None:
        """Take what was read.

        Args:
            note: About the job.
            job: Its images, by its newest spec.
            store: Where chunk notes and manifests lie.
            is_dropped: Its user wanted its images forgotten.
            troubles: What cannot be read is told here; its images are rendered again.
        """
        self._note = note
        self._job = job
        self._store = store
        self._is_dropped = is_dropped
        self._troubles = troubles
        self._models = {
            name: ModelFacts(**entry.model_dump()) for name, entry in (note.models or {}).items()
        }  # fmt: skip
        self.is_paused = False

    def write(self, connection: Connection, *, user: str, notes: Sequence[int], chunks: int) -> None:
        """Write everything.

        Args:
            connection: A writing transaction.
            user: Who the job belongs to from now on.
            notes: Numbers of the chunks that are noted, ascending.
            chunks: The first number that no chunk has had.

        Raises:
            StoreAway: Nothing may be committed.
        """
        self._write_job(connection, user=user)
        for size in self._note.plans:
            jobs.freeze_plan(connection, self._note.id, (size.width, size.height), size.plan)
        for number in notes:
            if (note := self._read_note(number)) is not None:
                self._write_chunk(connection, note)
        jobs.change(connection, self._note.id, chunks=chunks)
        self._write_state(connection)
        events.add(connection, self._note.id, rebuilding.MARK, "from what the store holds")

    def _write_job(self, connection: Connection, *, user: str) -> None:
        note, job = self._note, self._job
        new = NewJob(
            id=note.id, name=note.name, user=user, source=note.source, spec_hash=note.spec_hash,
            positions=job.positions, images=job.images, created_at=note.created_at, priority=note.priority,
            reuse=note.reuse, has_rules=has_rules(job.spec),
        )  # fmt: skip
        jobs.add(connection, new)
        models = None if note.models is None else {name: entry.model_dump() for name, entry in note.models.items()}
        jobs.change(
            connection, note.id, specs=note.specs, models=models, started_at=note.started_at,
            finished_at=note.finished_at,
        )  # fmt: skip

    def _read_note(self, number: int) -> ChunkNote | None:
        try:
            return ChunkNote.model_validate_json(self._store.get(chunk_note_key(self._note.id, number)))
        except (BlobMissing, ValidationError) as error:
            said = str(error).splitlines()[0]
            self._troubles.append(f"job {self._note.id}: the note of chunk {number} cannot be read ({said})")
            return None

    def _write_chunk(self, connection: Connection, note: ChunkNote) -> None:
        numbers = Numbers.from_json(note.ranges)
        rebuilding.add_chunk(
            connection, job=self._note.id, number=note.chunk, kind=note.kind, state=note.state, ranges=note.ranges,
            images=len(numbers), plan=None if note.plan is None else plan_id(connection, note.plan), model=note.model,
            attempt=note.attempt, node=note.node, manifest=note.manifest,
        )  # fmt: skip
        if note.state != ChunkState.DONE or self._is_dropped:
            return
        chunk = chunks.get(connection, self._note.id, note.chunk)
        assert chunk is not None
        rows = self._rows_of_manifest(connection, note, chunk) if note.made else []
        rows += self._rows_of_note(connection, note, chunk)
        rebuilding.replace_images(connection, self._note.id, rows)

    def _rows_of_manifest(self, connection: Connection, note: ChunkNote, chunk: ChunkRow) -> list[dict[str, Any]]:
        made = set(Numbers.from_json(note.made))
        try:
            said = Manifest.model_validate_json(self._store.get(note.manifest or ""))
        except (BlobMissing, ValidationError, ValueError) as error:
            reason = str(error).splitlines()[0]
            self._troubles.append(f"job {self._note.id}: the manifest of chunk {note.chunk} cannot be read ({reason})")
            return []
        counting = [image for image in said.images if image.number in made]
        kept = said.model_copy(update={"images": counting, "failed": []})
        return image_rows(connection, kept, chunk=chunk, job=self._job, models=self._models)

    def _rows_of_note(self, connection: Connection, note: ChunkNote, chunk: ChunkRow) -> list[dict[str, Any]]:
        if not note.rows:
            return []
        plans = {key: plan_id(connection, plan) for key, plan in note.plans.items()}
        worlds = {
            key: environment_id(connection, body, digest=digest(body)) for key, body in note.environments.items()
        }  # fmt: skip
        outcomes = {
            row.number: {**_columns(row), "plan": plans[row.plan], "environment": worlds[row.environment]}
            for row in note.rows
        }
        said = Manifest(
            job=self._note.id, chunk=note.chunk, attempt=note.attempt, run="none", node=note.node or "", boot="none",
            spec_hash="", plan=note.plan, environment=next(iter(note.environments.values())), models={}, started=0.0,
            finished=0.0, seconds={},
        )  # fmt: skip
        return describe(connection, outcomes, manifest=said, chunk=chunk, job=self._job, models=self._models)

    def _write_state(self, connection: Connection) -> None:
        """Count, and say where the job stands: as it ended, or paused with what is left of it."""
        note, job_id = self._note, self._note.id
        checks.count_again(connection, job_id)
        covered = set(checks.image_numbers(connection, job_id))
        places = {number for number in covered if number < TAKE}
        takes = len(covered) - len(places)  # those that were under way are decided upon once more
        jobs.change(connection, job_id, images=self._job.images + takes)
        row = jobs.get(connection, job_id)
        if self._is_dropped or note.state == JobState.CANCELLED:
            wish = Wish.DROP if self._is_dropped else Wish.CANCEL
            rebuilding.put_in_state(connection, job_id, JobState.CANCELLED, wish=wish)
        elif row.models is not None and row.done + row.failed >= row.images:
            state = JobState.RUNNING if row.has_rules else JobState.DONE  # until it is judged
            ended = {"finished_at": note.finished_at or time.time(), "cursor": row.positions}
            rebuilding.put_in_state(connection, job_id, state, **ended)
        else:
            below = frontier(self._job, places)
            jobs.change(connection, job_id, cursor=below)
            made = fill(connection, row, self._job, below=below, covered=covered) if row.models is not None else []
            if note.state == JobState.FAILED:
                self._fail(connection, made)
            else:
                self.is_paused = True
                paused = {"wish": Wish.PAUSE, "reason": rebuilding.MARK, "finished_at": None}
                rebuilding.put_in_state(connection, job_id, JobState.PAUSED, **paused)

    def _fail(self, connection: Connection, made: Sequence[int]) -> None:
        """A job that failed keeps what is left in chunks that are dropped, where `farm retry` finds it."""
        rebuilding.put_in_state(connection, self._note.id, JobState.FAILED, reason=self._note.reason)
        for number in made:
            chunk = chunks.get(connection, self._note.id, number)
            assert chunk is not None
            chunks.drop(connection, chunk, why=str(JobState.FAILED), now=self._note.finished_at or 0.0)


def _columns(row: NotedImage) -> dict[str, Any]:
    flags = {flag: flag in row.flags for flag in FLAGS}
    plain = row.model_dump(exclude={"number", "plan", "environment", "flags"})
    return {**plain, **flags, **dict.fromkeys(_UNSAID)}
