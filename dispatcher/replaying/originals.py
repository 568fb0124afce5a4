"""What is to be rendered again: a picture with its recipe, its plan and what drew it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dispatcher.farm import Farm
from storage.spec import Job
from storage.spec.number import show_number
from storage.spec.plan import Plan
from storage.sql import images
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow


@dataclass(frozen=True, kw_only=True)
class Original:
    """One picture. Its provenance is all that the replay is made of."""

    name: str  # for people: "12", "12.1", or a file
    recipe: Mapping[str, Any]
    recipe_hash: str
    plan: Plan
    environment: Mapping[str, Any]  # as far as it is known
    load: Callable[[], bytes] = field(repr=False)  # the stored file. Raises BlobMissing
    pixel_sha256: str | None = None  # as recorded, before the file was encoded
    sha256: str | None = None  # of the file as recorded


def originals_of(farm: Farm, row: JobRow, job: Job, numbers: Sequence[int]) -> list[Original]:
    """Those images of a job that lie in the store. Raises DatabaseAway."""
    assert row.models is not None  # nothing was made otherwise
    with farm.database.read() as connection:
        rows = list(images.of_numbers(connection, row.id, numbers))
    return [_original(farm, image, job, row) for image in rows if image.key is not None]


def _original(farm: Farm, image: ImageRow, job: Job, row: JobRow) -> Original:
    place, key = job[image.number], image.key
    assert place is not None  # a row exists only for a place that does
    assert key is not None
    return Original(
        name=show_number(image.number),
        recipe=job.recipe(place, row.models or {}),
        recipe_hash=image.recipe_hash,
        plan=Plan.model_validate(image.plan),
        environment=image.environment,
        load=lambda: farm.store.get(key),
        pixel_sha256=image.pixel_sha256,
        sha256=image.sha256,
    )
