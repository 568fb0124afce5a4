"""A running job under its user's hands, with real processes: pictures are the same as if nobody had touched it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm_desk import Desk, wait_until
from storage.sql import Database, jobs
from storage.sql.jobs import JobRow
from storage.states import JobState

IMAGES = 48


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**settings: object) -> Desk:
        desks.append(Desk(tmp_path, **settings))  # type: ignore[arg-type]
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


def row_of(desk: Desk) -> JobRow:
    database = Database(f"sqlite:///{desk.home / 'farm.sqlite'}")
    try:
        with database.read() as connection:
            return jobs.find(connection, "@last")
    finally:
        database.close()


def test_a_job_that_is_paused_in_the_middle_of_a_step_makes_the_same_pictures_once(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(seconds_per_step=0.1, FARM_CHUNK_S="3")
    file = str(desk.write_job())
    running = desk.start_farm("run", file, "--plain")
    wait_until(lambda: desk.done() >= 2, what="the first images")

    assert desk.farm("pause").returncode == 0
    wait_until(lambda: row_of(desk).state == JobState.PAUSED, what="the pause", timeout_s=20)
    wait_until(lambda: "recorded" in desk.farm("logs").stdout.splitlines()[-1], what="the partial manifest")
    held = desk.done()
    assert desk.farm("resume").returncode == 0

    output, _ = running.communicate(timeout=90)
    assert running.returncode == 0, output
    assert held < IMAGES
    assert "paused; 'farm resume" in output
    rows = desk.images()
    desk.check_objects(rows)
    assert sorted(rows) == list(range(IMAGES))
    assert desk.farm("run", file, "--plain", "--new").returncode == 0
    untouched = {number: row.sha256 for number, row in desk.images().items()}
    assert {number: row.sha256 for number, row in rows.items()} == untouched


def test_a_spent_budget_ends_the_command_with_the_next_step_which_works(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(seconds_per_step=0.02, FARM_CHUNK_S="0.5")
    file = str(desk.write_job())

    stopped = desk.farm("run", file, "--plain", "--max-device-hours", "0.0001")
    made = desk.done()
    watched = desk.farm("watch", "@last", "--plain")
    resumed = desk.farm("resume", "@last", "--max-device-hours", "5")
    ended = desk.farm("run", file, "--plain")

    assert stopped.returncode == watched.returncode == 1
    assert "stopped: budget spent" in stopped.stderr
    assert "farm resume" in watched.stderr
    assert 0 < made < IMAGES
    assert (resumed.returncode, ended.returncode) == (0, 0), ended.stdout + ended.stderr
    assert sorted(desk.images()) == list(range(IMAGES))


def test_dropping_a_running_job_leaves_no_row(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(seconds_per_step=0.1, FARM_CHUNK_S="1")
    desk.start_farm("up")
    assert desk.farm("submit", str(desk.write_job())).returncode == 0
    wait_until(lambda: desk.done() >= 2, what="the first images")

    assert desk.farm("cancel", "@last", "--drop", "--yes").returncode == 0

    wait_until(lambda: row_of(desk).state == JobState.CANCELLED and desk.done() == 0, what="the drop")
    assert (row_of(desk).done, row_of(desk).failed) == (0, 0)
