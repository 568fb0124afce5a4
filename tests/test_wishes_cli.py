"""The commands that wish something of a job: they write wishes, say what will happen, and refuse what cannot."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.cli.running.logs import _line
from dispatcher.views.history import Entry
from farm_desk import Desk
from keeping_desk import KeepingDesk, failed
from storage.sql import Database, events, jobs
from storage.sql.jobs import JobRow
from storage.states import JobState, Priority, Wish
from typed import typed

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def call(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process. Gives exit code, output and errors."""
    for name, value in desk.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(desk.folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        return typed(capsys, *arguments)

    return run


@pytest.fixture
def database(desk: Desk, call: Call) -> Iterator[Database]:
    """One queued job, and its database."""
    assert call("submit", str(desk.write_job()))[0] == 0
    database = Database(f"sqlite:///{desk.home / 'farm.sqlite'}")
    yield database
    database.close()


def last(database: Database) -> JobRow:
    with database.read() as connection:
        return jobs.find(connection, "@last")


def enter(database: Database, *states: JobState, **columns: int) -> None:
    with database.write() as connection:
        for state in states:
            assert jobs.enter(connection, jobs.find(connection, "@last").id, state)
        if columns:
            jobs.change(connection, jobs.find(connection, "@last").id, **columns)


def fail_some(database: Database, desk: Desk, *numbers: int) -> None:
    """A further job, of which these images failed."""
    farm = KeepingDesk(database, desk.home)
    job_id = farm.submit()
    chunk = farm.cut(job_id, images=8)
    assert chunk is not None
    farm.render(chunk, failed=[failed(number) for number in numbers])


def test_commands_write_wishes_and_never_a_state(call: Call, database: Database) -> None:
    for words, wish in (
        (["pause"], Wish.PAUSE), (["pause", "@last", "--after-chunks"], Wish.PAUSE_AFTER_CHUNKS),
        (["resume"], Wish.RESUME), (["cancel"], Wish.CANCEL), (["cancel", "@last", "--drop", "--yes"], Wish.DROP),
        (["cancel"], Wish.DROP),
    ):  # fmt: skip
        code, said, _ = call(*words)

        assert (code, last(database).wish, last(database).state) == (0, wish, JobState.QUEUED)
        assert last(database).id in said


def test_resuming_may_bring_a_new_budget_and_deadline(call: Call, database: Database) -> None:
    enter(database, JobState.STOPPED)

    code, _, _ = call("resume", "@last", "--max-device-hours", "2.5", "--deadline", "2999-01-01")

    row = last(database)
    assert (code, row.wish, row.max_device_seconds) == (0, Wish.RESUME, 9000.0)
    assert row.deadline is not None


def test_a_job_is_submitted_under_terms_and_they_can_be_changed(call: Call, desk: Desk, database: Database) -> None:
    job = str(desk.folder / "job.yaml")

    first = call("submit", job, "--new", "--priority", "interactive", "--max-device-hours", "1", "--deadline", "+2h")
    shown = json.loads(call("show", "--json")[1])
    words = call("show")[1]
    again = call("submit", job, "--priority", "background")

    assert (first[0], again[0], last(database).priority) == (0, 0, Priority.BACKGROUND)
    assert (shown["priority"], shown["max_device_seconds"]) == ("interactive", 3600.0)
    assert shown["deadline"] is not None
    assert re.search(r"^deadline +\d{4}-\d\d-\d\d \d\d:\d\d$", words, re.MULTILINE)
    assert last(database).max_device_seconds == 3600.0


def test_the_same_file_finds_its_paused_job(call: Call, desk: Desk, database: Database) -> None:
    enter(database, JobState.PAUSED)

    code, said, _ = call("submit", str(desk.folder / "job.yaml"))

    assert code == 0
    assert "is paused already" in said
    assert f"./farm resume {last(database).id}" in said


def test_a_retry_adds_up_and_all_is_more_than_some(call: Call, desk: Desk, database: Database) -> None:
    fail_some(database, desk, 1, 2, 4, 7)
    wished = []

    for words in (["--image", "4", "--image", "2"], ["--image", "7"], [], ["--image", "1"]):
        assert call("retry", "@last", *words)[0] == 0
        wished.append(last(database).retry)

    assert wished == [[2, 4], [2, 4, 7], [], []]


def test_a_retry_names_the_images_that_did_not_fail(call: Call, desk: Desk, database: Database) -> None:
    fail_some(database, desk, 2)

    some = call("retry", "@last", "--image", "2", "--image", "3", "--image", "4711")
    none = call("retry", "@last", "--image", "3", "--image", "2.1")

    assert some[0] == 0
    assert "tries image 2 once more" in some[1]
    assert some[2] == "passed over, as it did not fail: image 3, 4711\n"
    assert none[0] == 2
    assert "has no failed image 3, 2.1; see 'farm logs" in none[2]
    assert last(database).retry == [2]


def test_a_job_that_would_stop_again_at_once_is_not_resumed(call: Call, database: Database) -> None:
    enter(database, JobState.STOPPED, deadline=1)

    late = call("resume")
    with database.write() as connection:
        jobs.change(connection, last(database).id, deadline=None, device_seconds=7.2, max_device_seconds=3.6)
    spent = call("resume", "@last", "--max-device-hours", "0.002")
    more = call("resume", "@last", "--max-device-hours", "0.0021")

    assert (late[0], spent[0], more[0]) == (2, 2, 0)
    assert "would stop again at once: deadline passed; 'farm resume" in late[2]
    assert "budget spent: 0.002 of 0.002 device hours" in spent[2]
    assert last(database).wish == Wish.RESUME


def test_dropping_a_job_that_was_cancelled_says_what_happens(call: Call, database: Database) -> None:
    enter(database, JobState.CANCELLED)

    assert "is cancelled; its images are forgotten" in call("cancel", "@last", "--drop", "--yes")[1]


def test_images_that_were_rejected_are_not_tried_again_and_it_says_where_to_look(
    call: Call, database: Database
) -> None:
    enter(database, JobState.RESOLVING, JobState.RUNNING, JobState.DONE)
    with database.write() as connection:
        jobs.change(connection, last(database).id, rejected=3)

    code, _, said = call("retry")

    assert code == 2
    assert f"has no failed images; those rejected, 3, are made: see 'farm logs {last(database).id}'" in said


REFUSED = [
    pytest.param([JobState.RESOLVING, JobState.RUNNING, JobState.DONE], ["pause"], "is done: it cannot", id="pause"),
    pytest.param([], ["resume"], "is queued: it needs no resuming", id="resume"),
    pytest.param([JobState.CANCELLED], ["resume"], "is cancelled: it needs no resuming", id="resume ended"),
    pytest.param([JobState.CANCELLED], ["retry"], "cannot be tried again; 'farm submit --new'", id="retry cancelled"),
    pytest.param([JobState.RESOLVING, JobState.RUNNING], ["retry"], "has no failed images", id="nothing failed"),
    pytest.param([], ["resume", "@last", "--deadline", "soon"], "--deadline = 'soon': must be a time", id="deadline"),
    pytest.param([], ["submit", "job.yaml", "--priority", "high"], "'high' is not one of", id="class"),
    pytest.param([], ["resume", "@last", "--max-device-hours", "0"], "0.0 is not in the range", id="budget"),
]


@pytest.mark.parametrize(("states", "words", "says"), REFUSED)
def test_what_cannot_be_wished_is_refused_in_one_line(
    call: Call, database: Database, states: list[JobState], words: list[str], says: str
) -> None:
    enter(database, *states)

    code, _, said = call(*words)

    assert (code, len(said.strip().splitlines())) == (2, 1)
    assert says in said


def test_an_ended_job_says_so_when_it_is_cancelled(call: Call, database: Database) -> None:
    enter(database, JobState.RESOLVING, JobState.RUNNING, JobState.DONE)

    code, said, _ = call("cancel", "@last", "--drop", "--yes")

    assert code == 0
    assert "is done already; 'farm rm" in said
    assert last(database).wish == Wish.RUN


def test_the_log_tells_states_and_events_in_order(call: Call, database: Database) -> None:
    job_id = last(database).id
    empty = call("logs")[1]
    enter(database, JobState.RESOLVING, JobState.RUNNING)
    with database.write() as connection:
        events.add(connection, job_id, "suspects", "chunk 3 on n1: 4 images go on\nas chunk 9")

    lines = call("logs")[1].splitlines()
    told = json.loads(call("logs", "--json", "--limit", "2")[1])

    assert "nothing happened" in empty
    assert [line.split()[2] for line in lines] == ["resolving", "running", "suspects"]
    assert lines[2].endswith("chunk 3 on n1: 4 images go on as chunk 9")
    assert [entry["what"] for entry in told] == ["running", "suspects"]


def test_a_line_names_chunk_image_and_worker() -> None:
    entry = Entry(at=0.0, what="failed", detail="crash: x", worker="n1", chunk=3, attempt=2, image_id="j1/17.2")

    assert _line(entry).endswith("failed     chunk 3.2 image 17.2 on n1: crash: x")
