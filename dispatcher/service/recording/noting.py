"""What SQL decided, told to the store after the commit, so that a lost database can be rebuilt from the store alone.

A chunk's row says whether its note is written; that is set last. A crash or a store that is away in between means that
the same note is written once more. Notes about jobs are compared with what this process wrote before: after a start,
those of open jobs and of jobs that ended on the last day of work are written again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from sqlalchemy import Connection, RowMapping

from storage.blobs import BlobStore
from storage.spec import Numbers
from storage.spec.plan import Plan
from storage.sql import Database, jobs
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import JobRow
from storage.sql.keeping import notes
from storage.states import ChunkState, ImageState
from storage.wire.messages import FLAGS, ModelEntry
from storage.wire.notes import (
    ChunkNote,
    EndNote,
    JobNote,
    Note,
    NotedImage,
    SizePlan,
    chunk_note_key,
    dropped_key,
    job_note_key,
)

WRITERS: Final = 8  # threads: each waits for the store most of the time
SLICE: Final = 20  # chunks in memory at a time: a note of 4096 links takes two megabytes
_DAY_S: Final = 86_400.0
_SLACK_S: Final = 3_600.0  # far above the time from a row's `finished_at` to its commit

Sizes = Mapping[tuple[int, int], Plan]
Ending = tuple[str, float, bool]  # a job, when it ended, whether its images were dropped


class Notes:
    """Writes notes. `fence` opens every transaction: it raises where we do not lead any more."""

    def __init__(self, database: Database, store: BlobStore, *, fence: Callable[[Connection], None]) -> None:
        self._database = database
        self._store = store
        self._fence = fence
        self._open: dict[str, JobNote] = {}  # open jobs, as the store knows them
        self._ended: set[Ending] = set()  # of jobs, as the store knows them
        self._since: float | None = None  # jobs that ended before it are known to the store

    def write(self, limit: int = 200) -> int:
        """Note what changed of jobs, and how chunks ended: at most `limit` of each. Returns how many chunks.

        Raises:
            StoreAway: What was not written is written by the next call.
            DatabaseAway: Likewise.
            NotLeading: Likewise.
        """
        self._write_jobs(limit)
        written = 0
        while written < limit:
            with self._database.read() as connection:
                ended = notes.unnoted(connection, limit=min(SLICE, limit - written))
                said = {row.id: chunk_note(connection, row) for row in ended}
                old = self._of_old_jobs(connection, {row.job for row in ended})
            if not ended:
                break
            self._put({**old, **{chunk_note_key(*name): note for name, note in said.items()}})
            self._mark(said)
            written += len(ended)
        return written

    def _mark(self, said: Mapping[tuple[str, int], ChunkNote]) -> None:
        """Write down what is noted, but for chunks whose failed images were taken up again meanwhile."""
        with self._database.write() as connection:
            self._fence(connection)
            now = notes.failed_counts(connection, said)
            noted = {
                name: sum(row.state == ImageState.FAILED for row in note.rows) == now.get(name, 0)
                for name, note in said.items()
            }
            notes.mark_noted(connection, [name for name, is_so in noted.items() if is_so])

    def _write_jobs(self, limit: int) -> None:
        with self._database.read() as connection:
            last = notes.last_end(connection)
            if self._since is None:
                self._since = last - _DAY_S
            ended = set(notes.ended_since(connection, self._since))
            news = sorted(ended - self._ended)[:limit]
            due = list(islice(self._due(connection, [job_id for job_id, _, _ in news]), limit))
        said: dict[str, Note] = {job_note_key(row.id): note for row, note in due}
        for job_id, moment, is_dropped in news:
            if is_dropped:
                said[dropped_key(job_id)] = EndNote(job=job_id, at=moment)
        self._put(said)
        self._open |= {row.id: note for row, note in due if row.is_open}
        self._ended = (self._ended & ended) | {ending for ending in news if ending[0] in {row.id for row, _ in due}}
        if len(due) < limit:
            self._since = last - _SLACK_S

    def _due(self, connection: Connection, ended: Sequence[str]) -> Iterator[tuple[JobRow, JobNote]]:
        """Jobs of which the store knows nothing, or something else."""
        rows = {job_id: jobs.get(connection, job_id) for job_id in ended}
        rows |= {row.id: row for row in jobs.still_open(connection)}
        self._open = {job_id: note for job_id, note in self._open.items() if job_id in rows}
        plans = jobs.plans(connection, list(rows))
        for row in rows.values():
            note = job_note(row, plans.get(row.id, {}))
            if self._open.get(row.id) != note:
                yield row, note

    def _of_old_jobs(self, connection: Connection, ids: set[str]) -> dict[str, Note]:
        """Notes about those jobs that ended long ago: before there were notes, or while nobody wrote them."""
        old = ids - self._open.keys() - {job_id for job_id, _, _ in self._ended}
        plans = jobs.plans(connection, sorted(old))
        return {job_note_key(job_id): job_note(jobs.get(connection, job_id), plans.get(job_id, {})) for job_id in old}

    def _put(self, said: Mapping[str, Note]) -> None:
        if said:
            with ThreadPoolExecutor(min(WRITERS, len(said)), thread_name_prefix="note") as pool:
                list(pool.map(lambda key: write_note(self._store, key, said[key]), said))


def write_note(store: BlobStore, key: str, note: Note) -> None:
    """Write a note. Raises StoreAway, DiskFull."""
    store.put(key, note.model_dump_json().encode(), content_type="application/json")


def job_note(row: JobRow, plans: Sizes) -> JobNote:
    """What the store is told of a job; `plans` are those that are frozen by image size."""
    return JobNote(
        id=row.id, name=row.name, source=row.source, spec_hash=row.spec_hash, specs=list(row.specs),
        state=None if row.is_open else row.state, reason=None if row.is_open else row.reason,
        priority=row.priority, reuse=row.reuse, created_at=row.created_at, started_at=row.started_at,
        finished_at=None if row.is_open else row.finished_at,
        models=None if row.models is None else {
            name: ModelEntry(**facts.to_json()) for name, facts in row.models.items()
        },
        plans=[SizePlan(width=width, height=height, plan=plan) for (width, height), plan in sorted(plans.items())],
    )  # fmt: skip


def chunk_note(connection: Connection, row: ChunkRow) -> ChunkNote:
    """What the store is told of a chunk that ended."""
    made, told = [], []
    prefix = None if row.manifest is None else row.manifest.removesuffix("manifest.json")
    for image in notes.rows_of(connection, row) if row.state == ChunkState.DONE else ():
        if image["state"] == ImageState.DONE and prefix is not None and image["key"].startswith(prefix):
            made.append(image["number"])
        else:
            told.append(_noted_image(image))
    plans = notes.bodies(connection, [image.plan for image in told], of="plan") if told else {}
    worlds = notes.bodies(connection, [image.environment for image in told], of="environment") if told else {}
    return ChunkNote(
        job=row.job, chunk=row.number, kind=row.kind, state=row.state, ranges=row.numbers.to_json(), model=row.model,
        attempt=row.attempt, node=row.node, plan=row.plan, manifest=row.manifest, made=Numbers.of(made).to_json(),
        rows=told, plans={key: Plan.model_validate(body) for key, body in plans.items()}, environments=worlds,
    )  # fmt: skip


def _noted_image(row: RowMapping) -> NotedImage:
    same = set(NotedImage.model_fields) - {"plan", "environment", "flags"}
    return NotedImage(
        **{name: row[name] for name in same}, plan=row["plan_hash"], environment=row["environment_hash"],
        flags=[flag for flag in FLAGS if row[flag]],
    )  # fmt: skip
