"""A lost database made anew from the store alone: every row as it was, and exactly the missing images left to do."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dispatcher.keeping.checking.check import Checker
from dispatcher.keeping.collecting.garbage import Wanted, collect
from dispatcher.keeping.rebuilding.rebuild import Rebuilt, rebuild
from keeping_desk import KeepingDesk, failed
from keeping_jobs import with_all_that_happens
from storage.errors import UserError
from storage.sql import Database, chunks, endings, images, jobs
from storage.sql.chunks import NewChunk
from storage.sql.jobs import JobRow
from storage.states import ChunkState, JobState, Wish
from storage.wire.notes import chunk_note_key

Fresh = Callable[[], Database]
TIMES = {"recorded_at"}
NOT_KEPT = {"user", "chunks", "seconds_per_image", "device_seconds", "issued_at", "forgiven", "started_at"}


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> KeepingDesk:
    return KeepingDesk(database, tmp_path)


@pytest.fixture
def fresh(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Fresh]:
    """Return a maker of empty databases, of the kind that was lost."""
    made: list[Database] = []
    names: list[str] = []
    is_file = database.address.startswith("sqlite")

    def make() -> Database:
        if is_file:
            url = f"sqlite:///{tmp_path / f'new{len(made)}.sqlite'}"
        else:
            server = request.getfixturevalue("postgres")
            names.append(server.create_database())
            url = server.url(names[-1])
        made.append(Database(url))
        made[-1].prepare()
        return made[-1]

    yield make
    for one in made:
        one.close()
    for name in names:
        request.getfixturevalue("postgres").drop_database(name)


def made_anew(desk: KeepingDesk, database: Database) -> tuple[KeepingDesk, Rebuilt]:
    done = rebuild(database, desk.store, user="me")
    return KeepingDesk(database, desk.folder, store=desk.store), done


def told(database: Database, job_id: str) -> list[dict[str, Any]]:
    """The rows of a job, less the times when they were written."""
    with database.read() as connection:
        rows = [asdict(row) for row in images.of_job(connection, job_id)]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def of_job(row: JobRow) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key not in NOT_KEPT}


def test_every_row_comes_back_as_it_was(desk: KeepingDesk, fresh: Fresh) -> None:
    names = with_all_that_happens(desk)
    gone = names.pop("gone")

    again, done = made_anew(desk, fresh())

    for name, job_id in names.items():
        assert told(again.database, job_id) == told(desk.database, job_id), name
        was, now = of_job(desk.job(job_id)), of_job(again.job(job_id))
        if name == "broken":
            assert now.pop("cursor") == was.pop("cursor") == 4
        if name in ("cancelled", "dropped"):
            was["cursor"] = now["cursor"]
        assert now == was, name
    assert (done.jobs, done.paused, done.removed, done.troubles) == (6, [], 1, [])
    with again.database.read() as connection:
        assert gone not in {row.id for row in jobs.listing(connection)}


def test_chunks_plans_and_environments_come_back(desk: KeepingDesk, fresh: Fresh) -> None:
    job_id = with_all_that_happens(desk)["linking"]

    again, _ = made_anew(desk, fresh())

    def whole(database: Database) -> list[Any]:
        with database.read() as connection:
            rows = [asdict(row) for row in chunks.of_job(connection, job_id)]
            plans = jobs.plans(connection, [job_id])
        return [plans, [{**row, "plan_id": None, "boot": None, "numbers": list(row["numbers"])} for row in rows]]

    assert whole(again.database) == whole(desk.database)


def test_an_unfinished_job_is_paused_and_then_renders_exactly_what_is_missing(desk: KeepingDesk, fresh: Fresh) -> None:
    job_id = desk.submit(axes={"prompt": ["a", "b"], "seed": {"count": 8}, "width": [64, 128]})
    desk.work(job_id, chunks=2)
    skipped = desk.cut(job_id)  # nobody hears of it any more
    assert skipped is not None
    desk.work(job_id, chunks=2)
    desk.notes.write()
    under_way = desk.cut(job_id)
    assert under_way is not None
    desk.render(under_way, record=False)
    known = set(desk.images(job_id))

    again, done = made_anew(desk, fresh())

    row = again.job(job_id)
    with again.database.read() as connection:
        ready = chunks.in_state(connection, ChunkState.READY, job_id=job_id)
    assert (row.state, row.wish, row.reason, row.done) == (JobState.PAUSED, Wish.PAUSE, "rebuilt", 16)
    assert [number for chunk in ready for number in chunk.numbers] == list(skipped.numbers)
    assert {chunk.plan for chunk in ready} == {skipped.plan}
    assert min(chunk.number for chunk in ready) > under_way.number
    assert done.paused == [job_id]
    before = told(again.database, job_id)

    with again.database.write() as connection:
        jobs.enter(connection, job_id, JobState.RUNNING)
    again.work(job_id)

    rows = again.images(job_id)
    assert (again.job(job_id).state, sorted(rows)) == (JobState.DONE, list(range(32)))
    assert [row for row in told(again.database, job_id) if row["number"] in known] == before
    assert list(Checker(again.database, again.store).check(job_id)) == []


def test_a_finished_rebuild_is_like_a_farm_that_lost_nothing(desk: KeepingDesk, fresh: Fresh) -> None:
    job_id, other = desk.submit(), desk.submit()
    desk.work(job_id, chunks=2)
    desk.notes.write()
    again, _ = made_anew(desk, fresh())
    with again.database.write() as connection:
        for one in (job_id, other):
            jobs.enter(connection, one, JobState.RUNNING)

    for farm in (desk, again):
        farm.work(job_id)
        farm.work(other)

    same = ("number", "prompt", "seed", "recipe_hash", "sha256", "plan", "model_digest", "state", "options", "labels")
    for one in (job_id, other):
        without, with_loss = ([{key: row[key] for key in same} for row in told(farm.database, one)]
                              for farm in (desk, again))  # fmt: skip
        assert without == with_loss


def test_a_job_that_nobody_looked_at_yet_waits_paused(desk: KeepingDesk, fresh: Fresh) -> None:
    job_id = desk.submit()
    with desk.database.write() as connection:
        jobs.change(connection, job_id, models=None)
    desk.notes.write()

    again, _ = made_anew(desk, fresh())

    row = again.job(job_id)
    assert (row.state, row.models, row.cursor, row.done) == (JobState.PAUSED, None, 0, 0)


def test_a_job_whose_end_was_not_told_is_done_all_the_same(desk: KeepingDesk, fresh: Fresh) -> None:
    job_id = desk.submit()
    desk.notes.write()
    told_open = desk.store.get(f"jobs/{job_id}/job.json")
    desk.work(job_id)
    desk.notes.write()
    desk.store.put(f"jobs/{job_id}/job.json", told_open)

    again, _ = made_anew(desk, fresh())

    assert (again.job(job_id).state, again.job(job_id).done) == (JobState.DONE, 16)


def test_what_cannot_be_read_is_told_and_rendered_again(desk: KeepingDesk, fresh: Fresh) -> None:
    job_id = desk.rendered()
    key = desk.chunk(job_id, 1).manifest
    assert key is not None
    desk.store.put(key, b"{}")
    desk.store.delete([chunk_note_key(job_id, 2)])

    again, done = made_anew(desk, fresh())

    row = again.job(job_id)
    assert len(done.troubles) == 1
    assert "the manifest of chunk 1 cannot be read" in done.troubles[0]
    assert (row.state, row.done) == (JobState.PAUSED, 8)
    with again.database.read() as connection:
        ready = chunks.in_state(connection, ChunkState.READY, job_id=job_id)
    assert sum(chunk.images for chunk in ready) == 8


def test_a_retried_image_comes_back_once_and_made(desk: KeepingDesk, fresh: Fresh) -> None:
    job_id = desk.submit()
    first = desk.cut(job_id, images=16)
    assert first is not None
    number = next(iter(first.numbers))
    desk.render(first, failed=[failed(number)])
    desk.notes.write()
    stale = desk.store.get(chunk_note_key(job_id, first.number))
    with desk.database.write() as connection:
        found = endings.failed(connection, job_id, None)
        endings.forget_failed(connection, job_id, found)
        jobs.change(connection, job_id, failed=0)
        jobs.enter(connection, job_id, JobState.RUNNING)
        one = type(first.numbers).of([number])
        chunks.add(connection, NewChunk(job=job_id, kind="render", numbers=one, plan=first.plan_id, model=first.model))
    desk.work(job_id)
    desk.notes.write()
    desk.store.put(chunk_note_key(job_id, first.number), stale)

    again, _ = made_anew(desk, fresh())

    row = again.job(job_id)
    assert (row.state, row.done, row.failed) == (JobState.DONE, 16, 0)
    assert told(again.database, job_id) == told(desk.database, job_id)


def test_a_database_with_jobs_of_its_own_is_refused(desk: KeepingDesk) -> None:
    desk.rendered()

    with pytest.raises(UserError, match="holds 1 job of its own: must be empty"):
        rebuild(desk.database, desk.store, user="me")


def test_a_rebuild_that_broke_off_goes_on(desk: KeepingDesk, fresh: Fresh) -> None:
    jobs_there = {desk.rendered(), desk.rendered()}
    database = fresh()

    class BrokenError(Exception):
        pass

    def break_off(*_: object) -> None:
        raise BrokenError

    with pytest.raises(BrokenError):
        rebuild(database, desk.store, user="me", say=break_off)

    again, done = made_anew(desk, database)

    assert (done.known, done.jobs) == (1, 1)
    assert all(told(again.database, job_id) == told(desk.database, job_id) for job_id in jobs_there)


def test_a_dry_run_says_what_would_come_and_writes_nothing(desk: KeepingDesk, fresh: Fresh) -> None:
    desk.rendered()
    database = fresh()

    done = rebuild(database, desk.store, user="me", dry_run=True)

    with database.read() as connection:
        assert jobs.listing(connection) == []
    assert (done.jobs, done.images) == (1, 16)


def test_after_a_rebuild_collection_keeps_everything_that_counts(desk: KeepingDesk, fresh: Fresh) -> None:
    names = with_all_that_happens(desk)
    again, _ = made_anew(desk, fresh())

    collect(again.database, again.store, wanted=Wanted(grace_s=-3600))

    for name in ("done", "linking", "lost", "broken", "cancelled"):
        assert list(Checker(again.database, again.store).check(names[name])) == [], name
