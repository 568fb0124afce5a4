"""Queries of `farm fsck`: what SQL says of itself in several places, and rows that are put right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from storage.sql import chunks
from storage.sql.chunks import ChunkRow
from storage.sql.keeping import notes
from storage.sql.tables import chunk, image, job
from storage.states import ChunkState, ImageState, JobState
from storage.wire.messages import FLAGS

_PAGE = 200
_SAID = ("state", "images", "positions", "cursor", "done", "failed", "linked", "rejected", "has_rules", "judged")
_BLANK = ("key", "preview_key", "sha256", "pixel_sha256", "bytes", "xxh3_64", "phash", "rejected", "linked_job",
          "linked_number", "render_s", "encode_s", "upload_s")  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """The counters of a job, and what its rows add up to, at one moment."""

    state: JobState
    images: int
    positions: int
    cursor: int
    done: int
    failed: int
    linked: int
    rejected: int
    has_rules: bool
    judged: bool
    done_rows: int
    failed_rows: int
    linked_rows: int
    rejected_rows: int
    waiting: int  # images of chunks that are not final

    @property
    def counters_agree(self) -> bool:
        """Whether the counters are those of the rows."""
        if self.judged and self.rejected != self.rejected_rows:  # until then verdicts are being written
            return False
        return (self.done, self.failed, self.linked) == (self.done_rows, self.failed_rows, self.linked_rows)

    @property
    def missing(self) -> int:
        """Images that were cut and are in no row and no open chunk; 0 where that cannot be told by counting."""
        if self.cursor == self.positions:
            return self.images - self.done_rows - self.failed_rows - self.waiting
        if self.images == self.positions and not self.has_rules:  # no place is empty, and there are no takes
            return self.cursor - self.done_rows - self.failed_rows - self.waiting
        return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Namer:
    """A row that names an object."""

    job: str
    number: int
    chunk: int
    is_link: bool


def job_ids(connection: Connection) -> list[str]:
    """Every job, the oldest first."""
    return list(connection.execute(select(job.c.id).order_by(job.c.created_at, job.c.id)).scalars())


def sums(connection: Connection, job_id: str) -> Sums | None:
    """Counters and what they should be, in one statement: nothing moves in between. None if there is no such job."""
    mine = image.c.job == job_id
    count = select(func.count()).select_from(image).where(mine)
    is_open = chunk.c.state.in_([ChunkState.READY, ChunkState.ISSUED])
    waiting = select(func.coalesce(func.sum(chunk.c.images), 0)).where(chunk.c.job == job_id, is_open)
    query = select(
        *(job.c[name] for name in _SAID),
        count.where(image.c.state == ImageState.DONE).scalar_subquery().label("done_rows"),
        count.where(image.c.state == ImageState.FAILED).scalar_subquery().label("failed_rows"),
        count.where(image.c.linked_job.is_not(None)).scalar_subquery().label("linked_rows"),
        count.where(image.c.rejected.is_not(None)).scalar_subquery().label("rejected_rows"),
        waiting.scalar_subquery().label("waiting"),
    ).where(job.c.id == job_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Sums(**{**row, "state": JobState(row["state"])})


def final_chunks(connection: Connection, job_id: str, *, after: int) -> Sequence[tuple[ChunkRow, bool]]:
    """The next chunks of a job behind that number which are final, and whether each is noted."""
    query = select(chunk.c.number, chunk.c.noted).where(
        chunk.c.job == job_id, chunk.c.number > after, chunk.c.state.in_(notes.FINAL)
    )
    page = connection.execute(query.order_by(chunk.c.number).limit(_PAGE)).all()
    return [(row, noted) for number, noted in page if (row := chunks.get(connection, job_id, number)) is not None]


def namers(connection: Connection, key: str) -> list[Namer]:
    """Every row that names an object as its image."""
    query = select(image.c.job, image.c.number, image.c.chunk, image.c.linked_job).where(image.c.key == key)
    return [
        Namer(job=row.job, number=row.number, chunk=row.chunk, is_link=row.linked_job is not None)
        for row in connection.execute(query.order_by(image.c.job, image.c.number))
    ]


def point_elsewhere(connection: Connection, old: str, new: str, *, run: str, attempt: int) -> None:
    """Make every row that names one object name another one, with the same bytes, of another run."""
    connection.execute(
        update(image).where(image.c.key == old, image.c.linked_job.is_(None)).values(run=run, attempt=attempt)
    )
    connection.execute(update(image).where(image.c.key == old).values(key=new))


def fail_lost(connection: Connection, key: str, *, reason: str, detail: str) -> None:
    """Fail every image whose row names an object that is not there, links included."""
    blank: dict[str, Any] = {**dict.fromkeys(_BLANK), **dict.fromkeys(FLAGS, False)}
    connection.execute(
        update(image)
        .where(image.c.key == key, image.c.state == ImageState.DONE)
        .values(**blank, state=ImageState.FAILED, reason=reason, detail=detail)
    )


def forget_preview(connection: Connection, key: str, preview_key: str) -> None:
    """Take a preview that is not there out of the rows of an image."""
    same = (image.c.key == key, image.c.preview_key == preview_key)
    connection.execute(update(image).where(*same).values(preview_key=None))


def forget_manifest(connection: Connection, job_id: str, number: int) -> None:
    """Forget where the manifest of a chunk lay: its next note tells all rows itself."""
    same = (chunk.c.job == job_id, chunk.c.number == number)
    connection.execute(update(chunk).where(*same).values(manifest=None, noted=False))


def count_again(connection: Connection, job_id: str) -> None:
    """Set a job's counters to what its rows add up to."""
    count = select(func.count()).select_from(image).where(image.c.job == job_id)
    connection.execute(
        update(job)
        .where(job.c.id == job_id)
        .values(
            done=count.where(image.c.state == ImageState.DONE).scalar_subquery(),
            failed=count.where(image.c.state == ImageState.FAILED).scalar_subquery(),
            linked=count.where(image.c.linked_job.is_not(None)).scalar_subquery(),
            rejected=count.where(image.c.rejected.is_not(None)).scalar_subquery(),
        )
    )


def image_numbers(connection: Connection, job_id: str) -> Iterator[int]:
    """The numbers of all images of a job that have a row."""
    rows = connection.execute(select(image.c.number).where(image.c.job == job_id).order_by(image.c.number))
    return iter(rows.scalars())
