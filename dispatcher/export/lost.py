"""Images that an export left out since their objects or records were lost: which they are, and which still are."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from dispatcher.export.index import BrokenImage, Index
from dispatcher.export.loading import Broken, Loader
from dispatcher.export.planning import PlannedShard
from dispatcher.export.rounds import read_plan
from dispatcher.export.targets import Target
from dispatcher.provenance.rows import image_id
from storage.spec import Numbers
from storage.spec.number import place_of, take_of
from storage.sql import Database, images
from storage.sql.images import ImageRow
from storage.states import ImageState

Name = tuple[str, int]  # job and number
BROKEN_TABLE: Final = "metadata/rejected-broken.parquet"
_PAGE: Final = 500


def rows_of(database: Database, numbers: Sequence[tuple[str, Iterable[int]]]) -> Iterator[ImageRow | Broken]:
    """The rows of some images in the order given, read in pages; what has none any more is broken."""
    for job_id, wanted in numbers:
        waiting = iter(wanted)
        while page := list(islice(waiting, _PAGE)):
            with database.read() as connection:
                found = {image.number: image for image in images.of_numbers(connection, job_id, page)}
            yield from (found.get(number) or Broken.gone(job_id, number) for number in page)


def left_out(target: Target, index: Index, shard_name: Callable[[PlannedShard], str]) -> dict[Name, BrokenImage]:
    """Images that are in no shard and no other table since they were lost when their shard was made."""
    left: dict[Name, BrokenImage] = {}
    for place in range(index.rounds):
        for planned in read_plan(target, place):
            if left and place:  # a later round has some of them, in a shard or among what failed since
                for job, numbers in planned.numbers:
                    for number in numbers:
                        left.pop((job, number), None)
            shard = index.shards.get(shard_name(planned))
            if shard is not None:
                left |= {(image.job, image.number): image for image in shard.left_out}
    return left


def still_lost(found: Iterable[Name], *, database: Database, loader: Loader) -> set[Name]:
    """Those of some images that would be left out once more."""
    lost: set[Name] = set()
    for image in rows_of(database, _by_job(found)):
        if isinstance(image, Broken) or (image.state == ImageState.DONE and loader.damage(image) is not None):
            lost.add((image.job, image.number))
    return lost


def table_rows(left: Mapping[Name, BrokenImage], *, database: Database, loader: Loader) -> Iterator[dict[str, Any]]:
    """The rows of the table that lists them; of an image without a record only what names it."""
    for image in rows_of(database, _by_job(left)):
        known = _nameless(image, loader) if isinstance(image, Broken) else loader.row(image)
        yield known | {"reason": "broken", "detail": left[image.job, image.number].why}


def _nameless(image: Broken, loader: Loader) -> dict[str, Any]:
    return dict.fromkeys(column.name for column in loader.layout.setting.columns) | {
        "image_id": image_id(image.job, image.number), "job": image.job,
        "job_name": loader.sources[image.job].row.name, "number": place_of(image.number), "take": take_of(image.number),
    }  # fmt: skip


def _by_job(found: Iterable[Name]) -> list[tuple[str, Numbers]]:
    jobs: dict[str, list[int]] = {}
    for job, number in found:
        jobs.setdefault(job, []).append(number)
    return [(job, Numbers.of(sorted(numbers))) for job, numbers in jobs.items()]
