"""Queries about images: what was made or failed, and what of it users filter by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, func, insert, select, tuple_

from storage.sql.tables import environment, image, model, plan, prompt
from storage.states import ImageState
from storage.wire.messages import FLAGS

_PAGE = 1000
_BATCH = 500  # values in one query, below SQLite's limit on variables
_NO_LIMIT = 2**62
_negative = prompt.alias("negative")
_AGE_RANK = (
    func.row_number()
    .over(partition_by=image.c.recipe_hash, order_by=(image.c.recorded_at.desc(), image.c.job, image.c.number))
    .label("age_rank")
)
SOURCE = tuple(
    image.c[name]
    for name in (
        "job", "number", "linked_job", "linked_number", "recipe_hash", "plan", "environment", "key", "preview_key",
        "sha256", "pixel_sha256", "bytes", "xxh3_64", "phash", "scores", "finish", *FLAGS,
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRow:
    """A stored image, its shared values joined in."""

    job: str
    number: int
    state: ImageState
    prompt: str | None
    negative_prompt: str | None
    seed: int
    scheduler: str
    steps: int
    guidance_scale: float | None
    width: int
    height: int
    labels: Mapping[str, str]
    options: Mapping[str, Any]
    model: str
    model_digest: str
    plan: Mapping[str, Any]
    environment: Mapping[str, Any]
    recipe_hash: str
    linked_job: str | None
    linked_number: int | None
    key: str | None
    preview_key: str | None
    sha256: str | None
    pixel_sha256: str | None
    truncated: bool
    nsfw: bool
    low_variance: bool
    bytes: int | None
    xxh3_64: str | None
    phash: str | None
    scores: Mapping[str, float]
    rejected: str | None
    finish: str
    chunk: int
    attempt: int
    run: str
    worker: str
    render_s: float | None
    encode_s: float | None
    upload_s: float | None
    reason: str | None
    detail: str | None
    recorded_at: float

    @property
    def flags(self) -> list[str]:
        """What was said of the picture, of FLAGS."""
        return [flag for flag in FLAGS if getattr(self, flag)]


def add(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with the columns of the image table."""
    if rows:
        connection.execute(insert(image), list(rows))


def get(connection: Connection, job_id: str, number: int) -> ImageRow | None:
    """One image, or None while nothing came of it."""
    query = _query().where(image.c.job == job_id, image.c.number == number)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _row(row)


def of_numbers(connection: Connection, job_id: str, numbers: Sequence[int]) -> Iterator[ImageRow]:
    """Those of these images that have a row."""
    for start in range(0, len(numbers), _BATCH):
        part = image.c.number.in_(numbers[start : start + _BATCH])
        rows = connection.execute(_query().where(image.c.job == job_id, part).order_by(image.c.number))
        yield from [_row(row) for row in rows.mappings()]


def of_job(
    connection: Connection, job_id: str, *, state: ImageState | None = None, limit: int | None = None
) -> Iterator[ImageRow]:
    """The images of a job by number, read in pages."""
    after, left = -1, limit if limit is not None else _NO_LIMIT
    while left > 0:
        query = _query().where(image.c.job == job_id, image.c.number > after).order_by(image.c.number)
        if state is not None:
            query = query.where(image.c.state == state)
        page = [_row(row) for row in connection.execute(query.limit(min(_PAGE, left))).mappings()]
        yield from page
        if not page:
            return
        after, left = page[-1].number, left - len(page)


def newest(connection: Connection, job_id: str, *, limit: int) -> list[ImageRow]:
    """The images recorded last, newest first."""
    query = _query().where(image.c.job == job_id, image.c.state == ImageState.DONE)
    rows = connection.execute(query.order_by(image.c.recorded_at.desc(), image.c.number.desc()).limit(limit))
    return [_row(row) for row in rows.mappings()]


def recorded_after(connection: Connection, job_id: str, mark: tuple[float, int], *, limit: int) -> list[ImageRow]:
    """Images made after a mark of (recorded_at, number), in that order."""
    query = _query().where(
        image.c.job == job_id,
        image.c.state == ImageState.DONE,
        tuple_(image.c.recorded_at, image.c.number) > tuple_(*mark),
    )
    rows = connection.execute(query.order_by(image.c.recorded_at, image.c.number).limit(limit))
    return [_row(row) for row in rows.mappings()]


def newest_by_recipe(
    connection: Connection, recipe_hashes: Sequence[str], *, plan_id: int | None, finish: str, with_preview: bool
) -> dict[str, RowMapping]:
    """The image that was made last by each recipe, in any job: recipe hash -> columns of SOURCE.

    Args:
        connection: A transaction.
        recipe_hashes: As many as there are.
        plan_id: Only images of this plan; None: of any.
        finish: Only images that were encoded and measured so.
        with_preview: Only images whose step previews are kept.
    """
    found: dict[str, RowMapping] = {}
    for start in range(0, len(recipe_hashes), _BATCH):
        wanted = and_(image.c.recipe_hash.in_(recipe_hashes[start : start + _BATCH]), image.c.finish == finish)
        query = select(*SOURCE, _AGE_RANK).where(wanted, image.c.state == ImageState.DONE, image.c.key.is_not(None))
        if plan_id is not None:
            query = query.where(image.c.plan == plan_id)
        if with_preview:
            query = query.where(image.c.preview_key.is_not(None))
        ranked = query.subquery()
        for row in connection.execute(select(ranked).where(ranked.c.age_rank == 1)).mappings():
            found[row["recipe_hash"]] = row
    return found


def failures(connection: Connection, job_id: str, *, limit: int) -> list[tuple[str, str, int]]:
    """Why images failed: (reason, detail, how many), the commonest first."""
    count = func.count().label("times")
    query = (
        select(image.c.reason, image.c.detail, count)
        .where(image.c.job == job_id, image.c.state == ImageState.FAILED)
        .group_by(image.c.reason, image.c.detail)
        .order_by(count.desc())
        .limit(limit)
    )
    return [(row[0] or "", row[1] or "", row[2]) for row in connection.execute(query)]


def flag_counts(connection: Connection, job_id: str) -> dict[str, int]:
    """How many images of a job carry each flag; flags that none carries are left out."""
    counts = [func.count().filter(image.c[flag]).label(flag) for flag in FLAGS]
    row = connection.execute(select(*counts).where(image.c.job == job_id)).mappings().one()
    return {flag: count for flag, count in row.items() if count}


def total_bytes(connection: Connection, job_id: str) -> int:
    """Bytes of all images of a job in the store."""
    return int(
        connection.execute(select(func.coalesce(func.sum(image.c.bytes), 0)).where(image.c.job == job_id)).scalar_one()
    )


def _query() -> Select[Any]:
    return (
        select(
            image,
            prompt.c.text.label("prompt_text"),
            _negative.c.text.label("negative_text"),
            model.c.name.label("model_name"),
            model.c.digest.label("model_digest"),
            plan.c.body.label("plan_body"),
            environment.c.body.label("environment_body"),
        )
        .outerjoin(prompt, prompt.c.id == image.c.prompt)
        .outerjoin(_negative, _negative.c.id == image.c.negative_prompt)
        .join(model, model.c.id == image.c.model)
        .join(plan, plan.c.id == image.c.plan)
        .join(environment, environment.c.id == image.c.environment)
    )


def _row(row: RowMapping) -> ImageRow:
    values = dict(row)
    values["prompt"] = values.pop("prompt_text")
    values["negative_prompt"] = values.pop("negative_text")
    values["model"] = values.pop("model_name")
    values["plan"] = values.pop("plan_body")
    values["environment"] = values.pop("environment_body")
    values["state"] = ImageState(values["state"])
    return ImageRow(**values)
