"""Every stored picture of a job read again, and held against its recorded size, SHA-256 and pixels."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from dispatcher.farm import Farm
from dispatcher.keeping.checking.check import READERS
from dispatcher.keeping.checking.problem import Wrong
from dispatcher.provenance.pixels import pixel_hash, read_rgb
from dispatcher.provenance.rows import image_id
from storage.errors import BlobMissing
from storage.phash import phash_of
from storage.pictures import NotAPicture
from storage.spec.number import show_number
from storage.sql import hashes, images
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow
from storage.sql.keeping import notes
from storage.states import ImageState

_PAGE: Final = 8 * READERS
_EXACT: Final = frozenset({"png"})  # formats whose files hold the very pixels that were recorded
PIXELS: Final = "pixels"

Say = Callable[[int], None]  # hears how many images were looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A stored picture that is not what was recorded."""

    number: int
    kind: str  # a Wrong, or PIXELS
    detail: str

    def __str__(self) -> str:
        return f"image {show_number(self.number)}: {self.kind}: {self.detail}"

    def to_json(self, job_id: str) -> dict[str, str]:
        """For scripts."""
        return {"image_id": image_id(job_id, self.number), "kind": self.kind, "detail": self.detail}


@dataclass
class Verified:
    """What a look at a whole job found."""

    made: int = 0
    linked: int = 0
    failed: int = 0
    rejected: int = 0
    read: int = 0  # files
    bytes: int = 0  # of them
    decoded: int = 0  # files whose pixels were held against the recorded ones
    measured: int = 0  # images that had no perceptual hash and have one now
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What came of a look at one file."""

    size: int | None = None  # bytes; None: it is not there
    is_decoded: bool = False  # its pixels were held against the recorded ones
    fault: Fault | None = None
    phash: str | None = None  # of an image that had none


def verify_job(farm: Farm, row: JobRow, *, pixels: bool, say: Say | None = None) -> Verified:
    """Read every object of a job again. Images from before perceptual hashes were recorded get theirs by the way.

    Args:
        farm: Where it is.
        row: The job; it may still be rendering.
        pixels: Decode the pictures too, where the format keeps pixels as they are, or a perceptual hash is missing.
        say: Hears how far it is.

    Raises:
        StoreAway: The store does not answer.
        DatabaseAway: SQL does not.
    """
    job = farm.specs.load(row.id, spec_hash=row.spec_hash)
    decodes = pixels and is_exact(job.spec.output)
    found = Verified()
    with ThreadPoolExecutor(READERS, thread_name_prefix="verify") as pool:
        for page in _pages(farm, row.id):
            made = [one for one in page if one.state == ImageState.DONE]
            found.failed += len(page) - len(made)
            found.made += len(made)
            found.linked += sum(one.linked_job is not None for one in made)
            found.rejected += sum(one.rejected is not None for one in made)
            looks = list(pool.map(lambda one: _look(farm, one, decodes=decodes, measures=pixels), made))
            for image, seen in zip(made, looks, strict=True):
                found.read += seen.size is not None
                found.bytes += seen.size or 0
                found.decoded += seen.is_decoded
                if seen.fault is not None and _is_still_so(farm, image):
                    found.faults.append(seen.fault)
            found.measured += _keep(farm, row.id, [pair for pair in zip(made, looks, strict=True) if pair[1].phash])
            if say is not None:
                say(found.made + found.failed)
    return found


def is_exact(output: object) -> bool:
    """Whether a job's files hold the pixels that were rendered, bit for bit."""
    said = output if isinstance(output, dict) else {}
    return said.get("format") in _EXACT or (said.get("format") == "webp" and said.get("lossless") is True)


def _pages(farm: Farm, job_id: str) -> Iterator[list[ImageRow]]:
    """All rows of a job by number; no transaction is open while they are looked at."""
    with farm.database.read() as connection:
        numbers = hashes.numbers(connection, job_id)
    for start in range(0, len(numbers), _PAGE):
        with farm.database.read() as connection:
            yield list(images.of_numbers(connection, job_id, numbers[start : start + _PAGE]))


def _keep(farm: Farm, job_id: str, measured: Sequence[tuple[ImageRow, _Seen]]) -> int:
    """Record the perceptual hashes that were missing, and have the store told of them."""
    if measured:
        with farm.database.write() as connection:
            hashes.measure(connection, job_id, {image.number: str(seen.phash) for image, seen in measured})
            notes.mark_noted(connection, {(job_id, image.chunk) for image, _ in measured}, noted=False)
    return len(measured)


def _look(farm: Farm, image: ImageRow, *, decodes: bool, measures: bool) -> _Seen:
    assert image.key is not None  # of an image that was made
    try:
        data = farm.store.get(image.key)
    except BlobMissing:
        return _Seen(fault=_fault(image, Wrong.MISSING, f"{image.key} is not in the store"))
    size, said = len(data), None
    if size != image.bytes:
        said = _fault(image, Wrong.SIZE, f"{image.key} has {size} bytes, recorded were {image.bytes}")
    elif hashlib.sha256(data).hexdigest() != image.sha256:
        said = _fault(image, Wrong.HASH, f"{image.key} has other bytes than were recorded")
    if said is not None or not (decodes or (measures and image.phash is None)):
        return _Seen(size=size, fault=said)
    try:
        picture = read_rgb(data)
    except NotAPicture as error:
        return _Seen(size=size, fault=_fault(image, PIXELS, f"{image.key} {error}"))
    if decodes and pixel_hash(picture) != image.pixel_sha256:
        said = _fault(image, PIXELS, f"{image.key} shows other pixels than were recorded")
        return _Seen(size=size, is_decoded=True, fault=said)
    phash = phash_of(picture) if measures and image.phash is None else None
    return _Seen(size=size, is_decoded=decodes, phash=phash)


def _is_still_so(farm: Farm, image: ImageRow) -> bool:
    """Whether the row still names that object: a farm may run meanwhile, and jobs may be removed."""
    with farm.database.read() as connection:
        now = images.get(connection, image.job, image.number)
    return now is not None and (now.state, now.key, now.sha256) == (image.state, image.key, image.sha256)


def _fault(image: ImageRow, kind: str, detail: str) -> Fault:
    return Fault(number=image.number, kind=kind, detail=detail)
