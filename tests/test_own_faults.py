"""Images that end their runs: they are found, set apart, and fail alone; their neighbours are all made."""

from pathlib import Path
from typing import Any

import pytest

from desk import MODEL, DispatcherDesk
from dispatcher.views.history import read_history
from storage.spec import Numbers
from storage.sql import Database, chunks, jobs, workers
from storage.sql.chunks import ChunkRow
from storage.states import ChunkState, JobState


@pytest.fixture
def desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url)


@pytest.fixture
def both_desk(database: Database, tmp_path: Path, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url)


def ranges(numbers: list[int]) -> list[list[int]]:
    return Numbers.of(numbers).to_json()


def play(desk: DispatcherDesk, job_id: str, poison: dict[int, str], *, batch: int = 4, known: bool = True) -> int:
    """A worker does all there is; a batch with a poisonous image ends its process. Returns how often one did."""
    deaths = 0
    for _ in range(300):
        desk.feed(desk.beat(child=f"c{deaths}"))
        work = [chunk for chunk in desk.chunks() if chunk.job == job_id]
        if not work:
            return deaths
        chunk = work[0]
        size = 1 if chunk.faults else batch  # such a chunk is sent with alone=True
        numbers = list(chunk.numbers)
        batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        bad = next((part for part in batches if poison.keys() & set(part)), None)
        if bad is None:
            desk.recorder.record(desk.put(desk.manifest(chunk)))
            continue
        deaths += 1
        desk.hear(desk.beat(holding=chunk, child=f"c{deaths - 1}"))
        if known:
            cause = next(poison[number] for number in bad if number in poison)
            desk.hear(desk.ended(chunk, bad, cause=cause, child=f"c{deaths}"))
        else:
            desk.hear(desk.beat(child=f"c{deaths}"))
        desk.take_back()
        with desk.database.write() as connection:  # that it rests is another test's
            workers.note_success(connection, "n1", MODEL.digest)
    raise AssertionError("the work never ends")


@pytest.mark.parametrize(("cause", "reason"), [("died", "crash"), ("hung", "hung")])
def test_a_poison_image_fails_after_three_runs_and_its_neighbours_are_made(
    both_desk: DispatcherDesk, cause: str, reason: str
) -> None:
    desk = both_desk
    job_id = desk.submit()
    desk.feed()
    desk.recorder.record(desk.put(desk.manifest(desk.issued())))

    deaths = play(desk, job_id, {5: cause})

    row, rows = desk.job(job_id), desk.images(job_id)
    assert deaths == 3
    assert (row.state, row.done, row.failed) == (JobState.DONE, 15, 1)
    assert (rows[5].reason, rows[5].worker) == (reason, "n1")
    assert "3 times" in str(rows[5].detail)
    assert f"farm retry {job_id} --image 5" in str(rows[5].detail)
    assert "suspects" in desk.events(job_id)


def test_two_poison_images_of_one_batch_fail_after_three_runs_each(desk: DispatcherDesk) -> None:
    job_id = desk.submit()
    desk.feed()
    desk.recorder.record(desk.put(desk.manifest(desk.issued())))

    deaths = play(desk, job_id, {4: "died", 6: "died"})

    assert deaths <= 5  # the first run is both's
    assert {number for number, row in desk.images(job_id).items() if row.state == "failed"} == {4, 6}
    assert desk.job(job_id).done == 14


def test_where_nobody_knows_the_image_the_chunk_is_halved_until_it_stands_alone(desk: DispatcherDesk) -> None:
    job_id = desk.submit(plan={"batch": 16})
    desk.feed()
    desk.recorder.record(desk.put(desk.manifest(desk.issued())))

    play(desk, job_id, {11: "died"}, batch=16, known=False)

    assert [number for number, row in desk.images(job_id).items() if row.state == "failed"] == [11]
    assert desk.job(job_id).done == 15


def test_suspects_are_kept_from_the_worker_that_they_ended(desk: DispatcherDesk) -> None:
    _, chunk = desk.started()
    first = list(chunk.numbers)[:2]
    desk.hear(desk.beat(holding=chunk))

    desk.hear(desk.ended(chunk, first))
    desk.take_back()

    ready = {tuple(part.numbers): (part.faults, part.avoid) for part in desk.chunks(ChunkState.READY)}
    assert ready[tuple(first)] == (1, frozenset({"n1"}))
    assert ready[tuple(chunk.numbers)[2:]] == (0, frozenset())


def test_a_manifest_that_lies_in_the_store_clears_its_images(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    desk.hear(desk.beat(holding=chunk))
    desk.put(desk.manifest(chunk))

    desk.hear(desk.ended(chunk, list(chunk.numbers)))
    desk.take_back()

    assert sorted(desk.images(job_id)) == sorted(chunk.numbers)
    assert all(part.faults == 0 for part in desk.chunks(ChunkState.READY))


def test_models_that_end_three_workers_fail_their_job(desk: DispatcherDesk) -> None:
    job_id = desk.submit()

    for turn in range(3):
        desk.feed(desk.beat(child=f"c{turn}"))
        chunk = desk.issued()
        desk.hear(desk.beat(holding=chunk, child=f"c{turn}"))
        desk.hear(desk.ended(chunk, [], cause="hung", child=f"c{turn + 1}"))
        desk.take_back()
        with desk.database.write() as connection:
            workers.note_success(connection, "n1", "")

    row = desk.job(job_id)
    assert row.state == JobState.FAILED
    assert "broke 3 workers" in str(row.reason)


def broken(chunk: ChunkRow, numbers: list[int], *, reason: str = "device_error") -> dict[str, Any]:
    """What a manifest says of a run that ended early with these images in the pipeline, nothing made."""
    fault = {"reason": reason, "detail": "CUDA error: an illegal memory access", "ranges": ranges(numbers)}
    return {"untried": chunk.numbers.to_json(), "fault": fault}


def test_a_broken_device_parts_its_batch_from_the_rest(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started(plan={"batch": 16})
    made, batch, rest = list(chunk.numbers)[:4], list(chunk.numbers)[4:8], list(chunk.numbers)[8:]
    said = {**broken(chunk, batch), "untried": ranges([*batch, *rest])}

    desk.recorder.record(desk.put(desk.manifest(chunk, **said)))

    ready = {tuple(part.numbers): (part.faults, part.avoid) for part in desk.chunks(ChunkState.READY)}
    assert sorted(desk.images(job_id)) == sorted(made)
    assert ready == {tuple(batch): (1, frozenset({"n1"})), tuple(rest): (0, frozenset())}
    assert "device_error" in desk.events(job_id)


def test_an_image_that_breaks_the_device_alone_for_the_third_time_fails(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started(plan={"batch": 16})
    number = next(iter(chunk.numbers))

    for _ in range(3):
        mine = next(part for part in desk.chunks() if number in part.numbers)
        desk.recorder.record(desk.put(desk.manifest(mine, **broken(mine, [number]))))
        with desk.database.write() as connection:
            workers.note_success(connection, "n1", MODEL.digest)
        desk.feed()

    assert desk.images(job_id)[number].reason == "device_error"
    desk.finish()
    assert (desk.job(job_id).done, desk.job(job_id).failed) == (15, 1)


def test_out_of_memory_is_the_plans_fault_and_remembered_for_the_device(desk: DispatcherDesk) -> None:
    _, chunk = desk.started(plan={"batch": 16})
    said = broken(chunk, list(chunk.numbers), reason="out_of_memory")

    desk.recorder.record(desk.put(desk.manifest(chunk, **said, device="A card 8 GiB")))

    (again,) = desk.chunks(ChunkState.READY)
    with desk.database.read() as connection:
        (limit,) = workers.limits(connection)
    assert (list(again.numbers), again.faults, again.avoid) == (list(chunk.numbers), 0, frozenset())
    assert (limit.device, limit.plan, limit.model, limit.size) == ("A card 8 GiB", chunk.plan, MODEL.digest, (64, 64))


def test_what_one_host_lacks_goes_to_another_one(both_desk: DispatcherDesk) -> None:
    desk = both_desk
    job_id, chunk = desk.started(plan={"batch": 16})
    desk.live = frozenset({"n1", "n2"})

    desk.recorder.record(desk.put(desk.manifest(chunk, images=[], fatal="no weights on n1", fatal_here=True)))

    (again,) = desk.chunks(ChunkState.READY)
    assert (list(again.numbers), again.avoid) == (list(chunk.numbers), frozenset({"n1"}))
    assert desk.job(job_id).state == JobState.RUNNING
    desk.feed(desk.beat("n1"), desk.beat("n2"))
    assert desk.issued().node == "n2"


def test_what_every_live_host_lacks_fails_the_job(desk: DispatcherDesk) -> None:
    job_id = desk.submit()
    desk.live = frozenset({"n1", "n2"})
    seen = []

    for _ in range(2):
        desk.feed(desk.beat("n1"), desk.beat("n2"))
        chunk = desk.issued()
        seen.append(chunk.node)
        desk.recorder.record(desk.put(desk.manifest(chunk, models={}, fatal="no such model", fatal_here=True)))

    assert sorted(map(str, seen)) == ["n1", "n2"]
    assert (desk.job(job_id).state, desk.job(job_id).reason) == (JobState.FAILED, "no such model")


def test_a_plan_for_a_device_that_cannot_do_it_gives_way_to_another_device(both_desk: DispatcherDesk) -> None:
    desk = both_desk
    job_id, chunk = desk.started(plan={"batch": 16, "offload": "model"})
    desk.live = frozenset({"n1", "g1"})
    gpu = desk.beat("g1").model_copy(update={"device_type": "cuda"})
    assert chunk.plan is not None

    desk.recorder.record(desk.put(desk.manifest(chunk, images=[], fatal="this worker has no card", fatal_here=True)))
    desk.feed(desk.beat("n1"), gpu)

    again = desk.issued()
    assert (chunk.plan.device_type, chunk.node) == ("cpu", "n1")
    assert again.plan is not None
    assert (again.plan.device_type, again.plan.offload, again.node) == ("cuda", "model", "g1")
    with desk.database.read() as connection:
        assert jobs.plans(connection, [job_id])[job_id][64, 64] == again.plan


def test_a_job_fails_where_only_the_host_that_lacks_it_could_render_it(both_desk: DispatcherDesk) -> None:
    desk = both_desk
    job_id, chunk = desk.started(plan={"batch": 8})
    desk.recorder.record(desk.put(desk.manifest(chunk)))  # its plan is frozen by what was made
    desk.live = frozenset({"n1", "g1"})
    gpu = desk.beat("g1").model_copy(update={"device_type": "cuda"})

    for _ in range(2):
        desk.feed(desk.beat("n1"), gpu)
        desk.recorder.record(desk.put(desk.manifest(desk.issued(), images=[], fatal="not allowed", fatal_here=True)))

    assert (desk.job(job_id).state, desk.job(job_id).reason) == (JobState.FAILED, "not allowed")


def test_jobs_that_name_what_is_not_there_make_no_worker_rest(desk: DispatcherDesk) -> None:
    for _ in range(4):
        desk.submit()
        desk.feed()
        desk.live = frozenset({"n1"})
        fatal = desk.manifest(desk.issued(), models={}, fatal="no such model", fatal_here=True)
        desk.recorder.record(desk.put(fatal))

    desk.submit()

    assert desk.feed() == 1


def test_the_first_of_two_manifests_of_a_chunk_wins(both_desk: DispatcherDesk) -> None:
    desk = both_desk
    job_id, chunk = desk.started()
    winner, loser = (desk.put(desk.manifest(chunk)) for _ in range(2))

    recorded = [desk.recorder.record(winner), desk.recorder.record(loser)]

    with desk.database.read() as connection:
        stored = chunks.get(connection, job_id, chunk.number)
    assert recorded == [True, False]
    assert stored is not None
    assert stored.manifest == winner
    assert {Path(row.key).parent for row in desk.images(job_id).values() if row.key} == {Path(winner).parent}


def test_the_rest_of_a_lost_chunk_waits_as_one_more_at_its_worker(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started(axes={"prompt": ["a", "b"], "seed": {"count": 20}})
    desk.feed(desk.beat("n1"), desk.beat("n2"))
    before = {(one.node, one.number) for one in desk.chunks()}
    desk.hear(desk.beat("n2"), desk.beat(holding=chunk, batch=list(chunk.numbers)))
    desk.hear(desk.beat("n2"), desk.ended(chunk, list(chunk.numbers)[:2]))
    desk.take_back()
    suspects, rest = desk.chunks(ChunkState.READY)

    desk.feed(desk.beat("n1", child="new"), desk.beat("n2"))

    after = {one.number: one.node for one in desk.chunks()}
    assert (len(before), list(rest.numbers)) == (4, list(chunk.numbers)[2:])
    assert (rest.attempt, rest.faults, rest.avoid) == (0, 0, frozenset())
    assert (after[suspects.number], after[rest.number]) == ("n2", "n1"), "not who they ended, and who has room first"
    assert "rest" in {entry.what for entry in read_history(desk.database, job_id, limit=99)}
    places = [node for number, node in after.items() if number not in (suspects.number, rest.number)]
    assert sorted(map(str, places)) == ["n1", "n2", "n2"], "what came again took nobody's place, and left none over"
