"""Plans that do not fit a device: remembered, made smaller where that is allowed, and said where it is not."""

from pathlib import Path
from typing import Any

import pytest

from desk import MODEL, DispatcherDesk
from feeding import first_of, of_job, record, resolved
from storage.spec.plan import Plan
from storage.sql import Database, chunks, jobs, plans, workers
from storage.sql.chunks import ChunkRow
from storage.states import ChunkState
from storage.wire.messages import Heartbeat

SIZE = (64, 64)


@pytest.fixture
def desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url)


def limit(desk: DispatcherDesk, plan: Plan, *, device: str = "cpu") -> None:
    """Write down that a plan does not fit."""
    with desk.database.write() as connection:
        number = jobs.plan_id(connection, plan)
        workers.note_limit(
            connection, device=device, plan_id=number, model=MODEL.digest, size=SIZE, detail="x", now=1.0
        )  # fmt: skip


def out_of_memory(desk: DispatcherDesk, chunk: ChunkRow) -> None:
    """A chunk comes back untried, and its plan is known not to fit."""
    assert chunk.plan is not None
    limit(desk, chunk.plan)
    with desk.database.write() as connection:
        assert chunks.offer_again(connection, chunk, why="a test", now=1.0)


def test_a_plan_that_the_farm_chose_is_frozen_anew_until_it_fits(desk: DispatcherDesk) -> None:
    job_id, chunk = first_of(desk, plan={})

    seen = []
    for _ in range(3):
        assert chunk.plan is not None
        seen.append(chunk.plan.batch)
        out_of_memory(desk, chunk)
        desk.feed()
        (chunk,) = of_job(desk, job_id)
    record(desk, chunk)

    assert seen == [8, 4, 2]
    assert {row.plan["batch"] for row in desk.images(job_id).values()} == {1}
    with desk.database.read() as connection:
        assert jobs.plans(connection, [job_id])[job_id][SIZE].batch == 1


def test_a_limit_is_remembered_for_other_jobs(desk: DispatcherDesk) -> None:
    _, chunk = first_of(desk, plan={})
    out_of_memory(desk, chunk)

    _, second = first_of(desk, plan={})

    assert second.plan is not None
    assert second.plan.batch == 4


def test_a_plan_by_which_something_was_made_is_not_frozen_anew(desk: DispatcherDesk) -> None:
    job_id = resolved(desk, plan={}, axes={"prompt": ["a", "b", "c", "d"], "seed": {"count": 32}})
    desk.feed()
    made, lost = of_job(desk, job_id)
    record(desk, made)

    out_of_memory(desk, lost)
    desk.feed()

    assert desk.job(job_id).failed > 0
    assert {row.plan["batch"] for row in desk.images(job_id).values()} == {32}


def test_nothing_is_given_up_while_other_chunks_are_out_with_the_plan_that_did_not_fit(desk: DispatcherDesk) -> None:
    job_id = resolved(desk, plan={}, axes={"prompt": ["a", "b", "c", "d"], "seed": {"count": 32}})
    desk.feed()
    first, second = of_job(desk, job_id)

    out_of_memory(desk, first)
    assert desk.feed() == 0
    out_of_memory(desk, second)
    desk.finish()

    assert (desk.job(job_id).failed, desk.job(job_id).done) == (0, 128)
    assert {row.plan["batch"] for row in desk.images(job_id).values()} == {16}


def test_a_chunk_of_another_size_is_not_waited_for(desk: DispatcherDesk) -> None:
    job_id = resolved(desk, plan={}, axes={"width": [64, 96], "seed": {"count": 8}})
    desk.feed()
    first, other = of_job(desk, job_id)
    assert first.plan == other.plan

    out_of_memory(desk, first)

    assert desk.feed() == 1
    assert [chunk.plan.batch for chunk in of_job(desk, job_id) if chunk.plan is not None] == [4, 8]


@pytest.mark.parametrize(
    ("entries", "helps"),
    [
        pytest.param({"plan": {"batch": 8}}, "set smaller_plans: true or plan: {offload: model} or a", id="pin"),
        pytest.param(
            {"plan": {"batch": 8, "vae_slicing": False, "vae_tiling": False}, "smaller_plans": True},
            "set plan: {offload: model} or a smaller size", id="foot",
        ),
    ],
)  # fmt: skip
def test_images_fail_where_no_live_device_holds_an_allowed_plan(
    desk: DispatcherDesk, entries: dict[str, Any], helps: str
) -> None:
    job_id, chunk = first_of(desk, **entries)

    out_of_memory(desk, chunk)
    while desk.feed():
        for again in of_job(desk, job_id):
            out_of_memory(desk, again)

    assert desk.job(job_id).failed == 8
    failed = desk.images(job_id)[0]
    assert failed.reason == "out_of_memory"
    assert "needs a larger device: cpu ran out of memory with batch" in (failed.detail or "")
    assert helps in (failed.detail or "")
    assert f"farm retry {job_id}" in (failed.detail or "")


def test_with_leave_every_image_names_the_smaller_plan_that_made_it(desk: DispatcherDesk) -> None:
    job_id, chunk = first_of(desk, plan={"batch": 8}, smaller_plans=True)

    out_of_memory(desk, chunk)
    desk.feed()
    (again,) = of_job(desk, job_id)
    record(desk, again)

    assert {row.plan["batch"] for row in desk.images(job_id).values()} == {4}
    with desk.database.read() as connection:
        assert jobs.plans(connection, [job_id])[job_id][SIZE].batch == 8


def larger(desk: DispatcherDesk, node: str = "big") -> Heartbeat:
    return desk.beat(node).model_copy(update={"memory_bytes": 80 * 2**30})


def test_a_chunk_goes_to_the_device_that_holds_its_plan(desk: DispatcherDesk) -> None:
    job_id, chunk = first_of(desk, plan={"batch": 8})
    out_of_memory(desk, chunk)

    desk.feed(desk.beat("n1"), larger(desk))

    (again,) = of_job(desk, job_id)
    assert (again.node, again.plan) == ("big", chunk.plan)


def test_a_chunk_waits_for_a_larger_device_that_is_drained(desk: DispatcherDesk) -> None:
    job_id, chunk = first_of(desk, plan={"batch": 8})
    out_of_memory(desk, chunk)
    with desk.database.write() as connection:
        workers.wish_worker(connection, "big", "drain", 1.0)

    assert desk.feed(desk.beat("n1"), larger(desk)) == 0

    assert [row.state for row in of_job(desk, job_id, ChunkState.READY)] == [ChunkState.READY]


def test_a_ready_chunk_takes_the_plan_of_the_device_that_gets_it(desk: DispatcherDesk) -> None:
    job_id, chunk = first_of(desk, plan={"batch": 8}, smaller_plans=True)
    out_of_memory(desk, chunk)

    desk.feed(larger(desk))

    (again,) = of_job(desk, job_id)
    assert again.plan == chunk.plan


def test_a_plan_is_not_used_while_nothing_was_made_by_it(database: Database) -> None:
    with database.write() as connection:
        chosen = Plan(device_type="cpu", dtype="float32", batch=2, threads=1, tf32=False)

        assert not plans.is_used(connection, "nothing", SIZE, chosen)
