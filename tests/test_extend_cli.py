"""`farm extend` as a user types it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farm_desk import Desk
from typed import Ended, typed

SMALL = {"axes": {"prompt": ["a fox", "a hare"], "seed": {"count": 3}}}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def call(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process, which spares the start of another one."""
    for name, value in desk.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(desk.folder)

    def run(*arguments: str) -> Ended:
        return typed(capsys, *arguments)

    return run


def shown(call: Callable[..., Ended]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(call("show", "@last", "--json").stdout)
    return said


def test_an_edited_file_extends_its_job_once(desk: Desk, call: Callable[..., Ended]) -> None:
    file = str(desk.write_job(**SMALL))
    call("submit", file)

    first = call("extend", "desk", file, "--set", "axes.seed.count=5", "--set", "axes.prompt=[a hare, a fox, a cat]")
    again = call("extend", "desk", file, "--set", "axes.seed.count=5", "--set", "axes.prompt=[a hare, a fox, a cat]")

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    lines = first.stdout.splitlines()
    assert lines[0].endswith("grows from 6 to 15 images")
    assert lines[1] == "  part 2  3 images, numbers 6 to 8: 1 more value of prompt"
    assert json.loads(lines[2].split(maxsplit=1)[1])["number"] == 6
    assert lines[4] == "  part 3  6 images, numbers 9 to 14: 2 more values of seed"
    assert "./farm watch" in lines[-1]
    assert "has all of this already: 15 images" in again.stdout
    assert shown(call)["images"] == 15


def test_the_first_file_and_the_edited_one_both_find_the_extended_job(desk: Desk, call: Callable[..., Ended]) -> None:
    file, more = (
        str(desk.write_job(**SMALL)),
        ["--set", "axes.seed.count=5", "--set", "axes.prompt=[a hare, a fox, a cat]"],
    )
    call("submit", file)
    call("extend", "desk", file, *more)
    first = shown(call)["id"]

    again, edited = call("submit", file), call("submit", file, *more)
    other, less = call("submit", file, "--set", "steps=5"), call("submit", file, "--set", "axes.seed.count=4")
    new = call("submit", file, "--new")

    for ended in (again, edited):
        assert ended.stdout.startswith(f"job desk ({first}) is queued already: 15 images")
    assert "extended since" in again.stdout
    assert "extended since" not in edited.stdout
    for ended in (other, less, new):
        assert "queued: " in ended.stdout
        assert first not in ended.stdout


def test_show_lists_the_parts(call: Callable[..., Ended], desk: Desk) -> None:
    call("submit", str(desk.write_job(**SMALL)))
    before = call("show", "@last").stdout
    call("extend", "@last", "--seeds", "2", "--prompt", "a cat")

    lines = call("show", "@last").stdout.splitlines()

    assert "\nparts" not in before
    place = next(place for place, line in enumerate(lines) if line.startswith("parts"))
    assert [line[18:].strip() for line in lines[place : place + 3]] == [
        "part 1  6 images, numbers 0 to 5",
        "part 2  3 images, numbers 6 to 8: 1 more value of prompt",
        "part 3  6 images, numbers 9 to 14: 2 more values of seed",
    ]
    assert [part["first"] for part in shown(call)["parts"]] == [0, 6, 9]


def test_a_dry_run_changes_nothing(desk: Desk, call: Callable[..., Ended]) -> None:
    call("submit", str(desk.write_job(**SMALL)))
    before = shown(call)

    said = call("extend", "@last", "--seeds", "2", "--prompt", "a cat", "--dry-run")

    assert "would grow from 6 to 15 images" in said.stdout
    assert shown(call) == before


def test_scripts_get_json(desk: Desk, call: Callable[..., Ended]) -> None:
    call("submit", str(desk.write_job(**SMALL)))

    said = json.loads(call("extend", "@last", "--seeds", "2", "--json").stdout)

    assert (said["images"], said["added"]) == (10, 4)
    assert said["parts"] == [
        {"part": 2, "images": 4, "first": 6, "last": 9, "adds": {"keys": ["seed"], "values": 2}}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "nothing to add; give the job's file", id="nothing"),
        pytest.param(["job.yaml", "--seeds", "2"], "--seeds and --prompt go without a file", id="both ways"),
        pytest.param(["--seeds", "2", "--set", "steps=3"], "nothing to add; give the job's file", id="--set alone"),
        pytest.param(["job.yaml", "--set", "steps=5"], "steps: 4 in the job, 5 in the file", id="another value"),
        pytest.param(["job.yaml", "--set", "axes.seed.count=2"], "axes.seed.count = 2: the job has 3", id="fewer"),
        pytest.param(["gone.yaml"], "gone.yaml: no such file", id="no file"),
        pytest.param(["--seeds", "1000000000"], "the cap is 1000000000 (FARM_MAX_IMAGES)", id="too many"),
    ],
)
def test_what_is_no_extension_is_refused_in_one_line(
    desk: Desk, call: Callable[..., Ended], arguments: list[str], said: str
) -> None:
    call("submit", str(desk.write_job(**SMALL)))

    ended = call("extend", "@last", *arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert shown(call)["images"] == 6


def test_a_job_that_is_cancelled_is_refused(desk: Desk, call: Callable[..., Ended]) -> None:
    call("submit", str(desk.write_job(**SMALL)))
    call("cancel", "@last")

    ended = call("extend", "@last", "--seeds", "1")

    assert ended.returncode == 2
    assert "is cancelled; submit the file as a new job" in ended.stderr


def test_new_input_pictures_go_into_the_store(desk: Desk, call: Callable[..., Ended]) -> None:
    from PIL import Image

    (desk.folder / "photos").mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (64, 64), "teal" if name == "one" else "red").save(desk.folder / "photos" / f"{name}.png")
    axes = {"init_image": ["photos/one.png"], "seed": {"count": 2}}
    file = str(desk.write_job(mode="image-to-image", prompt="a fox", axes=axes))
    call("submit", file)

    ended = call("extend", "@last", file, "--set", "axes.init_image=[photos/one.png, photos/two.png]")

    assert ended.returncode == 0, ended.stderr
    assert shown(call)["images"] == 4
    assert len(list((desk.home / "store" / "inputs").iterdir())) == 2


def test_an_extended_job_is_rendered_to_its_end(desk: Desk) -> None:
    desk.farm("submit", str(desk.write_job(**SMALL)))
    extended = desk.farm("extend", "@last", "--seeds", "2", "--prompt", "a cat")
    assert extended.returncode == 0, extended.stderr

    desk.start_farm("up", "--devices", "cpu")
    watched = desk.farm("watch", "@last", "--plain")

    assert watched.returncode == 0, watched.stdout + watched.stderr
    rows = desk.images()
    assert sorted(rows) == list(range(15))
    assert [rows[number].seed for number in range(11, 15)] == [4, 3, 4, 3][::-1]
    desk.check_objects(rows)
