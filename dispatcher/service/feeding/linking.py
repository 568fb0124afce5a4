"""Never computed twice: images whose recipe exists already, in any job, become links instead of work.

A link is an image row that names the object of another one and remembers where it was rendered. It counts as a
reference: no object that a link names is ever collected, whatever becomes of the job that made it.

What a link must share is the recipe, how the picture was encoded and measured and, where the job says same-plan, the
plan. A job that keeps step previews links only images that have theirs.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from dispatcher.service.recording.describing import describe, keeps_previews
from dispatcher.service.steps import finish_if_complete
from storage.spec import Job, ModelFacts, Numbers, Place, digest
from storage.spec.finish import finish_of
from storage.sql import chunks, images, jobs
from storage.sql.chunks import ChunkRow, NewChunk
from storage.sql.jobs import JobRow
from storage.sql.tables import environment
from storage.sql.tables import job as job_table
from storage.states import ImageState, Reuse
from storage.wire.messages import FLAGS, Manifest

_TAKEN_OVER = ("plan", "environment", "key", "sha256", "pixel_sha256", "bytes", "xxh3_64", "phash", "scores", *FLAGS)
LINK_RUN = "link"  # stands where a rendered image names its run


def link_existing(connection: Connection, row: JobRow, job: Job, numbers: Numbers, *, plan_id: int) -> Numbers:
    """Link what exists already, before the rest becomes a chunk.

    Writes image rows, a chunk of kind "link" that is done at once, and the job's counters; closes a job that is
    complete by it.

    Args:
        connection: A writing transaction of the leader.
        row: The job as stored; its models are resolved.
        job: Its images.
        numbers: Images without a row, of one model and size.
        plan_id: The plan that they would be rendered by.

    Returns:
        What is left to render, in the same order.
    """
    if row.reuse == Reuse.OFF or row.models is None:
        return numbers
    recipes = _recipe_hashes(job, numbers, row.models)
    sources = images.newest_by_recipe(
        connection, sorted(set(recipes.values())),
        plan_id=plan_id if row.reuse == Reuse.SAME_PLAN else None, finish=finish_of(job.spec, row.models),
        with_preview=keeps_previews(job),
    )  # fmt: skip
    linked = {number: sources[recipe] for number, recipe in recipes.items() if recipe in sources}
    if not linked:
        return numbers
    _add_links(connection, row, job, linked)
    return Numbers.of(number for number in numbers if number not in linked)


def _recipe_hashes(job: Job, numbers: Numbers, models: Mapping[str, ModelFacts]) -> dict[int, str]:
    places = [place for number in numbers if (place := job[number]) is not None]
    return {place.number: digest(job.recipe(place, models)) for place in places}


def _add_links(connection: Connection, row: JobRow, job: Job, linked: Mapping[int, RowMapping]) -> None:
    assert row.models is not None
    now = time.time()
    chunk = _add_chunk(connection, row, job, list(linked), sources=linked)
    chunks.finish(connection, chunk, outcome="linked", now=now)
    outcomes = {number: _outcome(source, keeps_preview=keeps_previews(job)) for number, source in linked.items()}
    said = _as_manifest(connection, row, chunk, source=next(iter(linked.values())))
    images.add(connection, describe(connection, outcomes, manifest=said, chunk=chunk, job=job, models=row.models))
    jobs.change(connection, row.id, done=job_table.c.done + len(linked), linked=job_table.c.linked + len(linked))
    finish_if_complete(connection, row.id, now=now)


def _add_chunk(
    connection: Connection, row: JobRow, job: Job, numbers: Sequence[int], *, sources: Mapping[int, RowMapping]
) -> ChunkRow:
    first: Place | None = job[numbers[0]]
    assert first is not None
    plans = {source["plan"] for source in sources.values()}
    new = NewChunk(
        job=row.id, kind="link", numbers=Numbers.of(numbers), plan=plans.pop() if len(plans) == 1 else None,
        model=first.values["model"],
    )  # fmt: skip
    chunk = chunks.get(connection, row.id, chunks.add(connection, new))
    assert chunk is not None
    return chunk


def _outcome(source: RowMapping, *, keeps_preview: bool) -> dict[str, Any]:
    """What a link takes over from an image; the link of a link leads to the origin."""
    is_link = source["linked_job"] is not None
    return {
        "state": ImageState.DONE,
        "linked_job": source["linked_job"] if is_link else source["job"],
        "linked_number": source["linked_number"] if is_link else source["number"],
        **{name: source[name] for name in _TAKEN_OVER},
        "preview_key": source["preview_key"] if keeps_preview else None,
        **dict.fromkeys(("render_s", "encode_s", "upload_s", "reason", "detail")),
    }


def _as_manifest(connection: Connection, row: JobRow, chunk: ChunkRow, *, source: RowMapping) -> Manifest:
    """What `describe` wants to know of a run: there was none."""
    body = connection.execute(select(environment.c.body).where(environment.c.id == source["environment"])).scalar_one()
    now = time.time()
    return Manifest(
        job=row.id, chunk=chunk.number, attempt=0, run=LINK_RUN, node="", boot="", spec_hash=row.spec_hash,
        plan=chunk.plan, environment=body, models={}, started=now, finished=now, seconds={},
    )  # fmt: skip
