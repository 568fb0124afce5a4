"""What SQL says held against what the store holds, row by row and hash by hash.

A running farm goes on meanwhile, so whatever looks wrong is looked at once more before it is called so.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from secrets import SystemRandom
from typing import Final

from dispatcher.keeping.checking.problem import Problem, Wrong
from dispatcher.keeping.checking.repair import Repairer
from storage.blobs import BlobStore
from storage.errors import BlobMissing, PermanentError, UnknownName
from storage.spec_store import SpecStore
from storage.sql import Database, images, jobs
from storage.sql.chunks import ChunkRow
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow
from storage.sql.keeping import checks
from storage.states import ImageState, JobState
from storage.wire.notes import NOTES, job_folder, job_note_key

READERS: Final = 8  # threads: each holds one picture
_CHANCE: Final = SystemRandom()
_COVERED = (JobState.RUNNING, JobState.PAUSED, JobState.STOPPED, JobState.DONE)


class Checker:
    """Checks jobs. With a repairer, what is found wrong is put right where that can be done."""

    def __init__(
        self, database: Database, store: BlobStore, *, share: float = 1.0, repairer: Repairer | None = None
    ) -> None:
        """Say how much to look at; `share` of the images are read and hashed again, 0 to 1."""
        self._database = database
        self._store = store
        self._share = share
        self._repairer = repairer
        self._specs = SpecStore(store)
        self.images = 0  # looked at so far
        self.hashed = 0

    def check(self, job_id: str) -> Iterator[Problem]:
        """Everything wrong with a job, as it is found.

        Raises:
            StoreAway: The store does not answer.
            DatabaseAway: SQL does not.
        """
        with self._database.read() as connection:
            row = jobs.get(connection, job_id)
        yield from self._check_spec(row)
        noted = self._notes(job_id)
        after, any_noted = -1, False
        while True:
            with self._database.read() as connection:
                page = checks.final_chunks(connection, job_id, after=after)
            for chunk, is_noted in page:
                any_noted = any_noted or is_noted
                if is_noted and chunk.number not in noted:
                    yield from self._note_missing(chunk)
                yield from self._check_chunk(chunk)
                after = chunk.number
            if not page:
                break
        if any_noted and self._store.head(job_note_key(job_id)) is None:
            done = None if self._repairer is None else self._repairer.job_note(job_id)
            yield Problem(kind=Wrong.NOTE, job=job_id, detail="has no job.json in the store", repaired=done)
        yield from self._check_sums(job_id)

    def _check_spec(self, row: JobRow) -> Iterator[Problem]:
        for spec_hash in (*row.specs, row.spec_hash):
            try:
                self._specs.load(row.id, spec_hash=spec_hash)
            except PermanentError as error:
                yield Problem(kind=Wrong.SPEC, job=row.id, detail=str(error))

    def _notes(self, job_id: str) -> set[int]:
        folder = f"{job_folder(job_id)}{NOTES}/"
        names = (blob.key.removeprefix(folder).removesuffix(".json") for blob in self._store.list(folder))
        return {int(name) for name in names if name.isdecimal()}

    def _note_missing(self, chunk: ChunkRow) -> Iterator[Problem]:
        done = None if self._repairer is None else self._repairer.chunk_note(chunk)
        yield Problem(
            kind=Wrong.NOTE, job=chunk.job, detail=f"chunk {chunk.number} has no note in the store", repaired=done
        )

    def _check_chunk(self, chunk: ChunkRow) -> Iterator[Problem]:
        if chunk.manifest is not None and self._store.head(chunk.manifest) is None:
            done = None if self._repairer is None else self._repairer.manifest(chunk)
            yield Problem(
                kind=Wrong.MANIFEST, job=chunk.job, key=chunk.manifest, repaired=done,
                detail=f"the manifest of chunk {chunk.number} is not in the store",
            )  # fmt: skip
        with self._database.read() as connection:
            rows = list(images.of_numbers(connection, chunk.job, list(chunk.numbers)))
        made = [row for row in rows if row.state == ImageState.DONE and row.chunk == chunk.number]
        self.images += len(made)
        sizes = self._sizes(made)
        sound = []
        for row in made:
            problem = _by_listing(row, sizes)
            if problem is None:
                sound.append(row)
            elif self._is_still_so(row, problem):
                yield self._put_right(row, problem)
        for row in self._wrong_hashes([row for row in sound if _CHANCE.random() < self._share]):
            problem = _problem(Wrong.HASH, row, f"{row.key} has other bytes than were recorded")
            if self._is_still_so(row, problem):
                yield self._put_right(row, problem)

    def _sizes(self, rows: list[ImageRow]) -> dict[str, int]:
        """Sizes of all objects beside those that these rows name: each folder is listed once."""
        folders = {f"{(row.key or '').rpartition('/')[0]}/" for row in rows}
        return {blob.key: blob.size for folder in sorted(folders) for blob in self._store.list(folder)}

    def _wrong_hashes(self, rows: list[ImageRow]) -> list[ImageRow]:
        self.hashed += len(rows)
        with ThreadPoolExecutor(READERS, thread_name_prefix="check") as pool:
            hashes = pool.map(self._hash, (row.key or "" for row in rows))
            return [row for row, found in zip(rows, hashes, strict=True) if found != row.sha256]

    def _hash(self, key: str) -> str | None:
        with suppress(BlobMissing):
            return hashlib.sha256(self._store.get(key)).hexdigest()
        return None

    def _is_still_so(self, row: ImageRow, problem: Problem) -> bool:
        """Whether the row still says what it said, and the object is still not what it should be."""
        with self._database.read() as connection:
            now = images.get(connection, row.job, row.number)
        if now is None or (now.state, now.key, now.preview_key) != (row.state, row.key, row.preview_key):
            return False
        if problem.kind == Wrong.PREVIEW:
            return self._store.head(row.preview_key or "") is None
        return self._hash(row.key or "") != row.sha256

    def _put_right(self, row: ImageRow, problem: Problem) -> Problem:
        if self._repairer is None:
            return problem
        mend = self._repairer.preview if problem.kind == Wrong.PREVIEW else self._repairer.image
        return replace(problem, repaired=mend(row))

    def _check_sums(self, job_id: str) -> Iterator[Problem]:
        with self._database.read() as connection:
            sums = checks.sums(connection, job_id)
        if sums is None:
            raise UnknownName("job", job_id, "it was removed meanwhile")
        if not sums.counters_agree:
            done = None if self._repairer is None else self._repairer.counters(job_id)
            yield Problem(
                kind=Wrong.COUNTER, job=job_id, repaired=done,
                detail=f"says {sums.done} done, {sums.failed} failed, {sums.linked} linked; its rows are "
                f"{sums.done_rows}, {sums.failed_rows}, {sums.linked_rows}"
                + (f"; {sums.rejected} rejected; its rows are {sums.rejected_rows}" if sums.judged else ""),
            )  # fmt: skip
        if sums.state in _COVERED and sums.missing != 0:
            mend = self._repairer is not None and sums.missing > 0
            done = self._repairer.gap(job_id) if mend and self._repairer is not None else None
            yield Problem(
                kind=Wrong.GAP, job=job_id, repaired=done,
                detail=f"of the images that were cut, {sums.missing} are in no row and no open chunk",
            )  # fmt: skip


def _by_listing(row: ImageRow, sizes: dict[str, int]) -> Problem | None:
    """What a listing shows to be wrong with an image."""
    if row.key not in sizes:
        return _problem(Wrong.MISSING, row, f"{row.key} is not in the store")
    if sizes[row.key] != row.bytes:
        return _problem(Wrong.SIZE, row, f"{row.key} has {sizes[row.key]} bytes, recorded were {row.bytes}")
    if row.preview_key is not None and row.preview_key not in sizes:
        return _problem(Wrong.PREVIEW, row, f"{row.preview_key} is not in the store")
    return None


def _problem(kind: Wrong, row: ImageRow, detail: str) -> Problem:
    return Problem(kind=kind, job=row.job, number=row.number, key=row.key, detail=detail)
