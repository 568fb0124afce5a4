"""What a user sees of gc, rm, du, fsck and rebuild: lines, JSON and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keeping_desk import KeepingDesk
from storage.sql import jobs
from storage.wire.notes import removed_key
from typed import typed

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def desk(tmp_path: Path) -> KeepingDesk:
    return KeepingDesk.at_home(tmp_path / "home")


@pytest.fixture
def call(desk: KeepingDesk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("FARM_HOME", str(desk.folder))

    def run(*arguments: str) -> tuple[int, str, str]:
        return typed(capsys, *arguments)

    return run


def late_run(desk: KeepingDesk) -> str:
    """Garbage: a run that came too late, days ago."""
    job_id = desk.submit()
    chunk = desk.cut(job_id)
    assert chunk is not None
    desk.render(chunk, record=False)
    desk.render(chunk)
    desk.age()
    return job_id


def test_gc_says_what_it_deleted(desk: KeepingDesk, call: Call) -> None:
    late_run(desk)

    dry, done, again = call("gc", "--dry-run"), call("gc"), call("gc")

    assert dry[1].startswith("would delete 5 objects, ")
    assert done[1].startswith("deleted 5 objects, ")
    assert "  left by runs and dropped images: 5 objects" in done[1]
    assert (again[0], again[1].splitlines()[0].split(";")[0]) == (0, "deleted 0 objects, 0 B")


def test_gc_speaks_json(desk: KeepingDesk, call: Call) -> None:
    late_run(desk)

    said = json.loads(call("gc", "--json", "--grace", "1")[1])

    assert (said["total"]["objects"], said["runs"]["objects"], said["dry_run"]) == (5, 5, False)


def test_retention_removes_jobs_that_ended_long_ago(desk: KeepingDesk, call: Call) -> None:
    old, young = desk.rendered(), desk.rendered()
    with desk.database.write() as connection:
        jobs.change(connection, old, finished_at=1.0)

    dry, done = call("gc", "--retention", "30d", "--dry-run"), call("gc", "--retention", "30d")

    assert "1 job would be removed" in dry[1]
    assert "1 job removed" in done[1]
    with desk.database.read() as connection:
        assert [row.id for row in jobs.listing(connection)] == [young]


def test_a_span_that_is_none_is_refused(call: Call) -> None:
    code, _, said = call("gc", "--retention", "soon")

    assert (code, "must be days or hours, such as 30d or 12h" in said) == (2, True)


def test_rm_asks_first_and_nobody_there_means_no(desk: KeepingDesk, call: Call) -> None:
    job_id = desk.rendered()

    code, _, said = call("rm", job_id)

    assert (code, "nobody is there to ask; say --yes" in said, desk.job(job_id).done) == (2, True, 16)


def test_rm_forgets_a_job_and_keeps_its_objects_for_a_grace(desk: KeepingDesk, call: Call) -> None:
    job_id = desk.rendered()

    code, said, _ = call("rm", job_id, "--yes")

    assert (code, "its objects go with 'farm gc'" in said) == (0, True)
    assert call("rm", job_id, "--yes")[0] == 2
    assert len(desk.stored(f"jobs/{job_id}/")) > 16


def test_rm_now_deletes_the_objects(desk: KeepingDesk, call: Call) -> None:
    job_id = desk.rendered()

    code, said, _ = call("rm", job_id, "--yes", "--now", "--json")

    assert (code, json.loads(said)[0]["deleted"]["objects"] > 16) == (0, True)
    assert desk.stored(f"jobs/{job_id}/") == set()


def test_objects_that_are_kept_bring_a_job_back(desk: KeepingDesk, call: Call, tmp_path: Path) -> None:
    job_id, other = desk.rendered(), desk.rendered()
    assert call("rm", job_id, "--yes", "--keep-objects")[0] == 0
    assert call("rm", other, "--yes")[0] == 0
    assert removed_key(job_id) not in desk.stored()

    code, said, _ = call("rebuild")

    assert (code, "back: 1 job with 16 images; there already: 0" in said) == (0, True)
    assert desk.job(job_id).done == 16


def test_an_open_job_is_not_removed(desk: KeepingDesk, call: Call) -> None:
    code, _, said = call("rm", desk.submit(), "--yes")

    assert (code, "is running: must have ended; 'farm cancel" in said) == (2, True)


def test_du_shows_every_job(desk: KeepingDesk, call: Call) -> None:
    job_id = desk.rendered()

    code, said, _ = call("du")
    as_json = json.loads(call("du", job_id, "--json")[1])

    assert (code, job_id in said, "in all: " in said) == (0, True, True)
    assert (as_json["jobs"][0]["images"]["objects"], as_json["jobs"][0]["job"]) == (16, job_id)


def test_fsck_ends_with_1_until_all_is_repaired(desk: KeepingDesk, call: Call) -> None:
    job_id = desk.rendered()
    key = desk.images(job_id)[3].key
    assert key is not None
    desk.store.delete([key])

    found, mended, after = call("fsck"), call("fsck", job_id, "--repair"), call("fsck", "--sample", "0.5")

    assert (found[0], mended[0], after[0]) == (1, 0, 0)
    assert f"missing: job {job_id} image 3 {key} is not in the store\n" in found[1]
    assert "1 problem, 0 not repaired; 16 images looked at, 15 read again" in mended[1]
    assert "nothing is wrong; 15 images looked at" in after[1]


def test_fsck_speaks_json(desk: KeepingDesk, call: Call) -> None:
    desk.rendered()
    desk.store.put("holiday.png", b"x")

    code, said, _ = call("fsck", "--json")

    (problem,) = json.loads(said)["problems"]
    assert (code, problem["kind"], problem["key"]) == (1, "stranger", "holiday.png")


def test_rebuild_refuses_a_database_in_use(desk: KeepingDesk, call: Call) -> None:
    desk.rendered()

    code, _, said = call("rebuild")

    assert (code, "holds 1 job of its own: must be empty" in said) == (2, True)


def test_gc_with_a_database_that_knows_nothing_is_refused(desk: KeepingDesk, call: Call, tmp_path: Path) -> None:
    desk.rendered()
    (desk.folder / "farm.sqlite").rename(tmp_path / "lost.sqlite")

    code, _, said = call("gc")
    back = call("rebuild", "--json")

    assert (code, "'farm rebuild' makes the rows anew" in said) == (1, True)
    assert (back[0], json.loads(back[1])["images"]) == (0, 16)
