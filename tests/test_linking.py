"""What exists is linked, not rendered: by recipe, by plan where the job says so, and to where it came from."""

from pathlib import Path
from typing import Any

import pytest

from dispatcher.service.feeding.linking import link_existing
from keeping_desk import PLAN, KeepingDesk, failed
from storage.spec import Numbers
from storage.spec.plan import Plan
from storage.sql import Database, chunks, jobs
from storage.sql.lookups import plan_id
from storage.states import ChunkState, ImageState, JobState, Reuse


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> KeepingDesk:
    return KeepingDesk(database, tmp_path)


def link(desk: KeepingDesk, job_id: str, *, reuse: Reuse = Reuse.SAME_PLAN, plan: Plan = PLAN) -> Numbers:
    """Link what a job has in common with others, all of it at once; returns what is left."""
    with desk.database.write() as connection:
        desk.lead.fence(connection)
        jobs.change(connection, job_id, reuse=reuse)
        row = jobs.get(connection, job_id)
        job = desk.spec(row)
        numbers = Numbers.of(job.number_at(position) for position in range(job.positions))
        return link_existing(connection, row, job, numbers, plan_id=plan_id(connection, plan))


def test_images_of_the_same_recipe_and_plan_become_links(desk: KeepingDesk) -> None:
    first = desk.rendered()
    second = desk.submit(axes={"prompt": ["b", "c"], "seed": {"count": 8}})

    left = link(desk, second)

    made, linked, row = desk.images(first), desk.images(second), desk.job(second)
    assert sorted(left) == list(range(8, 16))
    assert sorted(linked) == list(range(8))
    assert (row.done, row.linked, row.state) == (8, 8, JobState.RUNNING)
    for number, image in linked.items():
        origin = made[number + 8]
        assert (image.linked_job, image.linked_number) == (first, origin.number)
        assert (image.key, image.sha256, image.bytes) == (origin.key, origin.sha256, origin.bytes)
        assert (image.recipe_hash, image.prompt, image.plan) == (origin.recipe_hash, "b", origin.plan)
        assert (image.attempt, image.run, image.worker, image.render_s) == (0, "link", "", None)
        assert image.environment == origin.environment


def test_links_lie_in_a_chunk_of_their_own_that_is_done(desk: KeepingDesk) -> None:
    desk.rendered()
    second = desk.submit()

    link(desk, second)

    with desk.database.read() as connection:
        _, chunk = chunks.of_job(connection, second)
    assert (chunk.kind, chunk.state, chunk.images, chunk.attempt) == ("link", ChunkState.DONE, 16, 0)
    assert {row.chunk for row in desk.images(second).values()} == {chunk.number}


def test_a_job_that_exists_as_a_whole_is_done_without_work(desk: KeepingDesk) -> None:
    desk.rendered()
    second = desk.submit()

    left = link(desk, second)

    row = desk.job(second)
    assert len(left) == 0
    assert (row.state, row.done, row.linked) == (JobState.DONE, 16, 16)


def test_a_link_to_a_link_leads_to_the_origin(desk: KeepingDesk) -> None:
    first = desk.rendered()
    second, third = desk.submit(), desk.submit()
    link(desk, second)

    link(desk, third)

    assert {row.linked_job for row in desk.images(third).values()} == {first}


@pytest.mark.parametrize(
    ("reuse", "links"),
    [
        pytest.param(Reuse.SAME_PLAN, 0, id="same plan"),
        pytest.param(Reuse.ANY_PLAN, 16, id="any plan"),
        pytest.param(Reuse.OFF, 0, id="off"),
    ],
)
def test_another_plan_counts_where_the_job_says_so(desk: KeepingDesk, reuse: Reuse, links: int) -> None:
    desk.rendered()
    second = desk.submit()

    left = link(desk, second, plan=PLAN.model_copy(update={"batch": 2}), reuse=reuse)

    rows = desk.images(second)
    assert (len(rows), len(left)) == (links, 16 - links)
    assert {row.plan["batch"] for row in rows.values()} <= {4}  # the one that made it


def test_what_failed_is_no_source(desk: KeepingDesk) -> None:
    first = desk.submit()
    chunk = desk.cut(first, images=16)
    assert chunk is not None
    desk.render(chunk, failed=[failed(number) for number in chunk.numbers])
    second = desk.submit()

    left = link(desk, second)

    assert len(left) == 16


def test_order_of_what_is_left_stays(desk: KeepingDesk) -> None:
    desk.rendered(axes={"prompt": ["a"], "seed": {"start": 2, "count": 2}})
    second = desk.submit(axes={"prompt": ["a"], "seed": {"count": 6}})

    left = link(desk, second)

    assert list(left) == [0, 1, 4, 5]


def test_a_job_that_keeps_previews_links_only_images_that_have_them(desk: KeepingDesk) -> None:
    desk.rendered()
    second = desk.submit(previews={"every": 1, "keep": True})

    left = link(desk, second)

    assert len(left) == 16


def test_labels_and_options_are_those_of_the_job_that_links(desk: KeepingDesk) -> None:
    desk.rendered(axes={"prompt": ["a"]}, clip_skip=2)
    second = desk.submit(axes={"prompt": ["a"], "clip_skip": [0, 2]})

    link(desk, second)

    (row,) = desk.images(second).values()
    assert (row.number, row.options["clip_skip"], row.state) == (1, 2, ImageState.DONE)


@pytest.mark.parametrize(
    ("says", "key"),
    [
        pytest.param({"quality": {"clip": {"model": "./m", "below": 0.2}}}, "clip:./m", id="scorer"),
        pytest.param({"output": {"watermark": "stamp"}}, "watermark:stamp", id="watermark"),
        pytest.param({"callbacks": "drift"}, "callback:drift", id="callback"),
    ],
)
def test_what_was_changed_in_place_has_made_other_images(desk: KeepingDesk, says: dict[str, Any], key: str) -> None:
    desk.work(desk.submit(**says), chunks=4)
    same = desk.submit(**says)
    desk.digests[key] = "sha256:" + "b" * 64
    other = desk.submit(**says)

    left = [len(link(desk, job_id)) for job_id in (same, other)]

    assert left == [0, 16]
