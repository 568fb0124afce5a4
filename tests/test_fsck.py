"""Every way in which SQL and the store can differ is found, told once, and put right where that is no guess."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.keeping.checking.check import Checker
from dispatcher.keeping.checking.problem import Problem, Wrong
from dispatcher.keeping.checking.repair import LOST, Repairer
from dispatcher.keeping.checking.whole import check_all
from dispatcher.keeping.collecting.garbage import Wanted, collect
from keeping_desk import KeepingDesk
from storage.sql import Database, chunks, endings, jobs
from storage.sql.chunks import NewChunk
from storage.sql.tables import chunk, image
from storage.states import ImageState, JobState, Reuse
from storage.wire.notes import chunk_note_key, job_note_key


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> KeepingDesk:
    return KeepingDesk(database, tmp_path)


def problems(desk: KeepingDesk, *, repair: bool = False, share: float = 1.0) -> list[Problem]:
    repairer = Repairer(desk.database, desk.store) if repair else None
    checker = Checker(desk.database, desk.store, share=share, repairer=repairer)
    return list(check_all(desk.database, desk.store, checker))


def linked(desk: KeepingDesk) -> tuple[str, str]:
    """A job, and another one that is eight links to it and eight images of its own."""
    first = desk.rendered()
    second = desk.submit(reuse=Reuse.SAME_PLAN, axes={"prompt": ["b", "c"], "seed": {"count": 8}})
    desk.work(second, images=16)
    desk.notes.write()
    return first, second


def lose(desk: KeepingDesk, job_id: str, number: int) -> str:
    key = desk.images(job_id)[number].key
    assert key is not None
    desk.store.delete([key])
    return key


def test_a_sound_farm_has_no_problems(desk: KeepingDesk) -> None:
    linked(desk)
    desk.work(desk.submit(previews={"every": 1, "keep": True}), chunks=2)
    desk.notes.write()

    assert problems(desk) == []


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        pytest.param(lambda desk, job: lose(desk, job, 3), [Wrong.MISSING], id="an object is gone"),
        pytest.param(
            lambda desk, job: desk.store.put(desk.images(job)[3].key, b"short"), [Wrong.SIZE], id="an object is cut off"
        ),
        pytest.param(
            lambda desk, job: desk.store.put(desk.images(job)[3].key, b"x" * desk.images(job)[3].bytes),
            [Wrong.HASH],
            id="an object has other bytes",
        ),
        pytest.param(
            lambda desk, job: desk.store.delete([desk.images(job)[3].preview_key]), [Wrong.PREVIEW], id="a preview"
        ),
        pytest.param(
            lambda desk, job: desk.store.delete([desk.chunk(job, 1).manifest]), [Wrong.MANIFEST], id="a manifest"
        ),
        pytest.param(lambda desk, job: desk.store.delete([chunk_note_key(job, 1)]), [Wrong.NOTE], id="a note"),
        pytest.param(lambda desk, job: desk.store.delete([job_note_key(job)]), [Wrong.NOTE], id="job.json"),
    ],
)
def test_what_is_wrong_is_found_once_and_repaired(
    desk: KeepingDesk, damage: Callable[[KeepingDesk, str], object], kinds: list[Wrong]
) -> None:
    job_id = desk.rendered(previews={"every": 1, "keep": True})
    damage(desk, job_id)

    found, mended = problems(desk), problems(desk, repair=True)
    desk.notes.write()

    assert [problem.kind for problem in found] == [problem.kind for problem in mended] == kinds
    assert (found[0].repaired, mended[0].repaired is not None, found[0].job) == (None, True, job_id)
    assert problems(desk) == []


def test_a_lost_image_fails_with_all_that_link_to_it_and_can_be_retried(desk: KeepingDesk) -> None:
    first, second = linked(desk)
    key = lose(desk, first, 8)  # image 0 of the second job links to it

    mended = problems(desk, repair=True)

    rows = [desk.images(first)[8], desk.images(second)[0]]
    assert [problem.number for problem in mended] == [8]
    assert mended[0].repaired == "2 images failed as lost_object; 'farm retry' renders them again"
    assert [(row.state, row.reason, row.key, row.linked_job) for row in rows] == [
        (ImageState.FAILED, LOST, None, None)
    ] * 2
    assert all(key in (row.detail or "") for row in rows)
    assert [(desk.job(one).done, desk.job(one).failed, desk.job(one).linked) for one in (first, second)] == [
        (15, 1, 0), (15, 1, 7),
    ]  # fmt: skip
    desk.notes.write()
    assert problems(desk) == []
    with desk.database.read() as connection:
        assert [row.number for row in endings.failed(connection, first, None)] == [8]


def test_a_lost_image_is_found_again_in_another_run(desk: KeepingDesk) -> None:
    first = desk.submit()
    row = desk.cut(first)
    assert row is not None
    late = desk.render(row, record=False)
    desk.render(row)
    second = desk.submit(reuse=Reuse.SAME_PLAN)
    desk.work(second, chunks=0)
    desk.cut(second)
    number = next(iter(row.numbers))
    lost = lose(desk, first, number)

    mended = problems(desk, repair=True)
    desk.notes.write()

    found = f"{late.removesuffix('manifest.json')}{number:09d}.png"
    now = desk.images(first)[number]
    assert mended[0].repaired == f"2 rows name {found} now"
    assert (now.key, now.run, now.state) == (found, found.split("/")[2].rpartition("-")[2], ImageState.DONE)
    assert desk.images(second)[number].key == found != lost
    collect(desk.database, desk.store, wanted=Wanted(grace_s=-3600))
    assert found in desk.stored()
    assert problems(desk) == []


def test_a_sample_of_none_looks_at_names_and_sizes_only(desk: KeepingDesk) -> None:
    job_id = desk.rendered()
    row = desk.images(job_id)[3]
    assert row.key is not None
    desk.store.put(row.key, b"x" * (row.bytes or 0))

    assert problems(desk, share=0.0) == []


def test_counters_that_differ_from_the_rows_are_counted_again(desk: KeepingDesk) -> None:
    job_id = desk.rendered()
    with desk.database.write() as connection:
        jobs.change(connection, job_id, done=99)

    (problem,) = problems(desk, repair=True)

    assert (problem.kind, desk.job(job_id).done) == (Wrong.COUNTER, 16)
    assert "says 99 done, 0 failed, 0 linked; its rows are 16, 0, 0" in problem.detail


def test_images_that_nobody_speaks_of_become_chunks(desk: KeepingDesk) -> None:
    job_id = desk.rendered()
    with desk.database.write() as connection:
        connection.execute(image.delete().where(image.c.job == job_id, image.c.number.in_([2, 3, 9])))
        jobs.change(connection, job_id, done=13)

    (problem,) = problems(desk, repair=True)

    assert (problem.kind, problem.repaired) == (Wrong.GAP, "1 chunk more")
    assert desk.job(job_id).state == JobState.RUNNING
    desk.work(job_id)
    desk.notes.write()
    assert (desk.job(job_id).done, sorted(desk.images(job_id))) == (16, list(range(16)))
    assert problems(desk) == []


def test_images_that_wait_in_chunks_are_no_gap(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    row = desk.cut(job_id)
    assert row is not None
    desk.render(row, images=[], untried=row.numbers.to_json())
    desk.notes.write()

    assert problems(desk) == []


def test_a_spec_that_is_not_there_cannot_be_repaired(desk: KeepingDesk) -> None:
    job_id = desk.rendered()
    desk.store.delete([key for key in desk.stored(f"jobs/{job_id}/") if "/spec" in key])

    (problem,) = problems(desk, repair=True)

    assert (problem.kind, problem.repaired) == (Wrong.SPEC, None)


def test_what_belongs_to_nothing_is_told(desk: KeepingDesk) -> None:
    job_id, lost = desk.rendered(), desk.rendered()
    with desk.database.write() as connection:
        for table in (image, chunk):
            connection.execute(table.delete().where(table.c.job == "nobody"))
    strange = ["holiday.png", f"jobs/{job_id}/holiday.png", "inputs/holiday.png", "models/blobs/x"]
    for key in strange:
        desk.store.put(key, b"x")
    desk.store.put("jobs/0000000000/job.json", b"{}")

    found = problems(desk)

    assert sorted(problem.key or "" for problem in found if problem.kind == Wrong.STRANGER) == sorted(strange)
    assert [problem.job for problem in found if problem.kind == Wrong.UNKNOWN_JOB] == ["0000000000"]
    assert lost not in {problem.job for problem in found}


def test_what_changes_meanwhile_is_no_problem(desk: KeepingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = desk.rendered()
    lose(desk, job_id, 3)
    checker = Checker(desk.database, desk.store)
    sizes = checker._sizes

    def forgotten_meanwhile(rows: list[object]) -> dict[str, int]:
        found = sizes(rows)  # type: ignore[arg-type]
        with desk.database.write() as connection:
            connection.execute(image.delete().where(image.c.job == job_id, image.c.number == 3))
            jobs.change(connection, job_id, done=15)
            chunks.add(connection, NewChunk(job=job_id, kind="render", numbers=type(desk.chunk(job_id, 1).numbers)
                                            .of([3])))  # fmt: skip
        monkeypatch.undo()
        return found

    monkeypatch.setattr(checker, "_sizes", forgotten_meanwhile)

    assert list(checker.check(job_id)) == []
