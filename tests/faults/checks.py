"""The check after every fault: rows = objects = the expected set, every hash right, nothing twice.

The pictures are compared with what the fake renderer draws for the same recipes in this process, which no fault ever
touched.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from PIL import Image
from sqlalchemy import select

from faults.farm import Farm
from storage.blobs import BlobStore
from storage.errors import BlobMissing
from storage.marks.embed import pixel_sha256
from storage.spec import Job, Numbers, digest
from storage.spec_store import SpecStore
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow
from storage.sql.tables import attempt as attempt_table
from storage.sql.tables import chunk as chunk_table
from storage.states import JobState
from worker.fake import draw

RUN = re.compile(r"jobs/[^/]+/(?P<chunk>\d+)\.(?P<attempt>\d+)-[^/]+/(?P<file>.+)")
KNOWN = re.compile(r"jobs/[^/]+/(?:(?:spec(?:-[0-9a-f]+)?|job|dropped)\.json|notes/\d+\.json)")
SHOWN = 5


@dataclass(slots=True)
class Findings:
    """What is not as it must be, as sentences by class, and how much was looked at."""

    images: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)  # objects that nothing explains
    losing_runs: int = 0  # whole runs in the store that no row needs: garbage, for collection
    orphans: int = 0  # images among them, and those of winners that were not recorded

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.lost or self.doubled or self.wrong or self.strays)

    def __str__(self) -> str:
        parts = [("lost", self.lost), ("doubled", self.doubled), ("wrong", self.wrong), ("strays", self.strays)]
        shown = [f"{len(found)} {name}: {'; '.join(found[:SHOWN])}" for name, found in parts if found]
        return f"{self.images} images; {' | '.join(shown) or 'all as it must be'}"


def assert_whole(farm: Farm, name: str = "@last", *, failed: Collection[int] = ()) -> Findings:
    """Fail unless a job ended with every image exactly once and right; `failed` are the numbers that must not."""
    found = check(farm, name, failed=failed)
    assert found.clean, f"{found}\n{farm.words()}"
    return found


def check(farm: Farm, name: str = "@last", *, failed: Collection[int] = ()) -> Findings:
    """Look at everything of one finished job."""
    row, store = farm.job(name), farm.store
    job = SpecStore(store).load(row.id, spec_hash=row.spec_hash)
    rows, found = farm.images(name), Findings(images=row.images)
    _check_numbers(row, job, rows, failed, found)
    _check_chunks(farm, row, found)
    for image in rows.values():
        _check_image(store, row, job, image, found)
    _check_store(store, row, rows.values(), found)
    return found


def _check_numbers(
    row: JobRow, job: Job, rows: dict[int, ImageRow], failed: Collection[int], found: Findings
) -> None:  # fmt: skip
    if row.state != JobState.DONE:
        found.lost.append(f"the job is {row.state}: {row.reason}")
    wanted = {number for number in range(len(job)) if job[number] is not None}
    found.lost += [f"image {number} has no row" for number in sorted(wanted - rows.keys())]
    found.doubled += [f"image {number} is none of the job's" for number in sorted(rows.keys() - wanted)]
    bad = {number for number, image in rows.items() if image.state == "failed"}
    found.lost += [f"image {number} failed: {rows[number].reason} {rows[number].detail}" for number in bad - {*failed}]
    found.wrong += [f"image {number} should have failed" for number in {*failed} - bad]
    if row.done != len(rows) - len(bad) or row.failed != len(bad):
        found.doubled.append(f"counters say {row.done} done, {row.failed} failed; rows {len(rows)}, failed {len(bad)}")


def _check_chunks(farm: Farm, row: JobRow, found: Findings) -> None:
    """No chunk is left in the middle, none was recorded twice."""
    with farm.database.read() as connection:
        chunks = connection.execute(
            select(chunk_table.c.number, chunk_table.c.state).where(chunk_table.c.job == row.id)
        ).all()
        ends = connection.execute(
            select(attempt_table.c.chunk, attempt_table.c.outcome).where(attempt_table.c.job == row.id)
        ).all()
    found.lost += [f"chunk {chunk.number} is {chunk.state}" for chunk in chunks if chunk.state in ("ready", "issued")]
    recorded = Counter(end.chunk for end in ends if (end.outcome or "").startswith("recorded"))
    found.doubled += [f"chunk {number} was recorded {times} times" for number, times in recorded.items() if times > 1]


def _check_image(store: BlobStore, row: JobRow, job: Job, image: ImageRow, found: Findings) -> None:
    if image.key is None:
        return
    place = job[image.number]
    assert place is not None
    assert row.models is not None
    recipe = job.recipe(place, row.models)
    try:
        data = store.get(image.key)
    except BlobMissing:
        found.lost.append(f"image {image.number}: no object {image.key}")
        return
    with Image.open(io.BytesIO(data)) as file:
        pixels = pixel_sha256(file.convert("RGB"))
    drawn = pixel_sha256(draw(recipe))
    pairs = {
        "sha256": (image.sha256, hashlib.sha256(data).hexdigest()),
        "bytes": (image.bytes, len(data)),
        "pixels": (image.pixel_sha256, pixels),
        "pixels of its recipe": (pixels, drawn),
        "recipe": (image.recipe_hash, digest(recipe)),
    }
    found.wrong += [f"image {image.number}: {what}" for what, (said, is_) in pairs.items() if said != is_]


def _check_store(store: BlobStore, row: JobRow, rows: Iterable[ImageRow], found: Findings) -> None:
    """Every object is named by a row, belongs to a run, or is of a known kind; no two rows name one."""
    named = Counter(key for image in rows for key in (image.key, image.preview_key) if key is not None)
    found.doubled += [f"{times} rows name {key}" for key, times in named.items() if times > 1]
    winners = {_run_of(key) for key in named}
    losers = set()
    for blob in store.list(f"jobs/{row.id}/"):
        run = RUN.fullmatch(blob.key)
        if run is None:
            if not KNOWN.fullmatch(blob.key):
                found.strays.append(blob.key)
        elif blob.key not in named and run["file"] != "manifest.json":
            found.orphans += 1
            losers.add(_run_of(blob.key))
    found.losing_runs = len(losers - winners)


def _run_of(key: str) -> str:
    return key.rpartition("/")[0]


def numbers_of(ranges: list[list[int]]) -> set[int]:
    """The numbers of a chunk's ranges."""
    return set(Numbers.from_json(ranges))
