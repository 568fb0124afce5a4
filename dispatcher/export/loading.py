"""One image from the store to a sample: read, checked against its recorded hash, finished, put in its place.

This runs in the threads that read ahead. What is wrong with one object is an answer here, not an error, so that the
export can name the image, or leave it out and say so.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xxhash import xxh3_64_hexdigest

from dispatcher.export.formats import Layout
from dispatcher.export.pictures import Finishing
from dispatcher.export.planning import PlannedShard
from dispatcher.export.shards.sample import Sample, key_of
from dispatcher.export.sources import Source
from dispatcher.export.targets import Target
from dispatcher.export.withholding import Withheld
from dispatcher.provenance.columns import LABEL_PREFIX, NAMES
from dispatcher.provenance.rows import flat_row, image_id
from storage.blobs import BlobStore
from storage.errors import BlobMissing, PermanentError, UnknownName, nearest
from storage.sql.images import ImageRow


class ImageUnreadable(PermanentError):
    """An image cannot be exported. Args: image, key, what is wrong, the job's id."""

    text = (
        "image {0}: {2} ({1}); 'farm fsck {3} --repair' finds another copy or counts it as failed, "
        "or --skip-broken exports the rest and lists it"
    )


class ImageGone(PermanentError):
    """An image cannot be exported, since nothing is known of it any more. Args: image, the job's id."""

    text = (
        "image {0}: has no record any more: its job was removed, or renders it again; repeat this when "
        "'farm watch {1}' has ended, or --skip-broken exports the rest and lists it"
    )


class ClassUnknown(PermanentError):
    """An image is of no class that the export began with. Args: image, column, class."""

    text = "image {0}: {1} = {2!r} is none of the classes that this export began with; export to another place"


@dataclass(frozen=True, slots=True)
class Broken:
    """An image whose object is missing or damaged, or whose record is gone."""

    job: str
    number: int
    why: str
    key: str | None = None
    is_gone: bool = False

    @classmethod
    def of(cls, image: ImageRow, why: str) -> "Broken":
        """One that has a record."""
        return cls(image.job, image.number, why, image.key)

    @classmethod
    def gone(cls, job: str, number: int) -> "Broken":
        """One that has none: its job was removed, or it failed and is tried once more."""
        return cls(job, number, "has no record any more", is_gone=True)

    def error(self) -> PermanentError:
        """What to raise of it."""
        name = image_id(self.job, self.number)
        if self.is_gone:
            return ImageGone(name, self.job)
        return ImageUnreadable(name, self.key or "no key", self.why, self.job)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """Where captions and classes come from."""

    column: str  # of the flat row, or of the labels
    is_label: bool

    def of(self, row: Mapping[str, Any], labels: Mapping[str, str]) -> str:
        """The text; "" where there is none."""
        value = labels.get(self.column) if self.is_label else row.get(self.column)
        return "" if value is None else str(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loader:
    """Turns images into samples."""

    store: BlobStore
    target: Target
    layout: Layout
    sources: Mapping[str, Source]
    finishing: Mapping[str, Finishing]  # by job
    prefixed: frozenset[str]  # jobs whose keys begin with their id
    labels: Sequence[str]
    caption: Caption
    cls: Caption | None = None
    classes: Mapping[str, int] | None = None
    withheld: Withheld | None = None  # of an export without prompts

    def load(self, image: ImageRow, planned: PlannedShard) -> Sample | Broken:
        """Read and finish one image. Raises StoreAway, DiskFull, CannotSign."""
        row = self.row(image)
        data = self._read(image)
        if isinstance(data, str):
            return Broken.of(image, data)
        source, finishing = self.sources[image.job], self.finishing[image.job]
        key = key_of(image.number, job=image.job if image.job in self.prefixed else None)
        name = self.layout.file_name(planned, key, finishing.suffix, image)
        if finishing.is_anew or finishing.signing is not None:
            place = source.job[image.number]
            assert place is not None
            recipe = source.job.recipe(place, source.row.models or {})
            try:
                data = finishing.finish(
                    data, recipe=recipe, plan=image.plan, environment=image.environment, title=name
                )  # fmt: skip
            except OSError as error:
                return Broken.of(image, f"cannot be written as {finishing.wanted.format}: {error}")
            sha256: str | None = hashlib.sha256(data).hexdigest()
        else:
            sha256 = image.sha256  # of these bytes: they were just compared
        row |= {"file_name": name, "split": planned.split, "sha256_exported": sha256}
        return self._place(self._sample(image, row, key=key, suffix=finishing.suffix, data=data))

    def row(self, image: ImageRow) -> dict[str, Any]:
        """The flat row of an image."""
        source = self.sources[image.job]
        row = flat_row(image, job=source.job, row=source.row, labels=self.labels)
        return row if self.withheld is None else self.withheld.of(row)

    def damage(self, image: ImageRow) -> str | None:
        """What is wrong with an image's object. Raises StoreAway."""
        data = self._read(image)
        return data if isinstance(data, str) else None

    def _read(self, image: ImageRow) -> bytes | str:
        if image.key is None:
            return "has no object"
        try:
            data = self.store.get(image.key)
        except BlobMissing:
            return "its object is missing"
        what = _damage(image, data)
        return data if what is None else f"its object is damaged: it has {what} than was recorded"

    def _sample(self, image: ImageRow, row: dict[str, Any], *, key: str, suffix: str, data: bytes) -> Sample:
        number = None
        if self.cls is not None and self.classes is not None:
            name = self.cls.of(row, image.labels)
            number = self.classes.get(name)
            if number is None:
                raise ClassUnknown(image_id(image.job, image.number), self.cls.column, name)
        return Sample(
            key=key, file_name=row["file_name"], suffix=suffix, data=data, size=len(data), row=row,
            caption=self.caption.of(row, image.labels), cls=number,
        )  # fmt: skip

    def _place(self, sample: Sample) -> Sample:
        for name, data in self.layout.files(sample).items():
            self.target.put(name, data, lasting=False)
        return sample


def _damage(image: ImageRow, data: bytes) -> str | None:
    """What of an object is not as recorded.

    By size and XXH3, which shows what disks and networks do to bytes; what somebody did to them on purpose, `farm
    verify` finds. By SHA-256, a hundred times as costly, of images that were recorded without an XXH3.
    """
    if image.xxh3_64 is None:
        differs = image.sha256 is not None and hashlib.sha256(data).hexdigest() != image.sha256
        return "another SHA-256" if differs else None
    if len(data) != image.bytes:
        return "another size"
    return "another checksum (XXH3)" if xxh3_64_hexdigest(data) != image.xxh3_64 else None


def caption_of(column: str, option: str, *, labels: Sequence[str]) -> Caption:
    """Where a column that users name is to be found: a column of the row, or a label, with or without `label.`.

    Raises:
        UnknownName: There is none of that name.
    """
    if column in NAMES:
        return Caption(column=column, is_label=False)
    for prefix in ("label.", LABEL_PREFIX, ""):
        name = column.removeprefix(prefix)
        if column.startswith(prefix) and name in labels:
            return Caption(column=name, is_label=True)
    raise UnknownName(f"column of {option}", column, nearest(column, {*NAMES, *labels}))
