"""What is said of images that do not exist: not yet, or never any more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from keeping_desk import KeepingDesk
from storage.sql import jobs
from storage.states import JobState
from typed import Ended, typed

Call = Callable[..., Ended]


@pytest.fixture
def desk(tmp_path: Path) -> KeepingDesk:
    return KeepingDesk.at_home(tmp_path / "home")


@pytest.fixture
def call(desk: KeepingDesk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("FARM_HOME", str(desk.folder))
    return lambda *arguments: typed(capsys, *arguments)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        pytest.param(JobState.RUNNING, "yet; 'farm watch {job}' follows", id="open"),
        pytest.param(JobState.FAILED, "is failed; 'farm why {job}' says why", id="failed"),
        pytest.param(JobState.CANCELLED, "is cancelled; 'farm why {job}' says why", id="cancelled"),
    ],
)
@pytest.mark.parametrize("command", [("image", "3"), ("verify", "--replay", "2")], ids=["image", "replay"])
def test_where_to_look_depends_on_whether_anything_may_still_come(
    desk: KeepingDesk, call: Call, command: tuple[str, ...], state: JobState, says: str
) -> None:
    job = desk.submit()
    with desk.database.write() as connection:
        jobs.enter(connection, job, state)

    ended = call(command[0], job, *command[1:])

    assert ended.returncode == 2
    assert says.format(job=job) in ended.stderr


@pytest.mark.parametrize(
    ("state", "says"),
    [
        pytest.param(JobState.RUNNING, "has no images yet; 'farm watch {job}' follows it", id="open"),
        pytest.param(JobState.FAILED, "has no images and is failed; 'farm why {job}' says why", id="failed"),
    ],
)
def test_a_job_whose_models_were_never_read_is_no_data_set(
    desk: KeepingDesk, call: Call, state: JobState, says: str
) -> None:
    job = desk.submit()
    with desk.database.write() as connection:
        jobs.enter(connection, job, state)
        jobs.change(connection, job, models=None)

    ended = call("export", job, "--to", "set")

    assert ended.returncode == 2
    assert says.format(job=job) in ended.stderr


def test_a_job_without_images_is_not_called_whole(desk: KeepingDesk, call: Call) -> None:
    job = desk.submit()

    ended = call("verify", job)

    assert ended.returncode == 0
    assert ended.stdout.splitlines()[1:] == [f"there is nothing to read; './farm show {job}' counts its images"]


def test_a_difference_says_which_job_is_not_whole_yet(desk: KeepingDesk, call: Call) -> None:
    whole, begun = desk.rendered(), desk.submit()

    lines = call("diff", whole, begun).stdout.splitlines()

    assert lines[0].endswith(f"({whole})")
    assert lines[1].endswith(f"({begun}), 0 of 16 images so far")
