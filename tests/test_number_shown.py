"""Takes are shown as people write them, 12.1, wherever a number is told; scripts get the image_id of `farm image`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.keeping.checking.problem import Problem, Wrong
from dispatcher.quality.judging import Judge
from dispatcher.replaying.verifying import Fault
from dispatcher.views.naming import file_name
from keeping_desk import KeepingDesk, failed
from storage.spec.number import number_of
from storage.spec_store import SpecStore
from typed import Ended, typed

RULES = {"low_variance": "reject", "on_reject": "next_seed", "tries": 3}
TAKE = number_of(2, take=1)


@pytest.fixture
def desk(tmp_path: Path) -> KeepingDesk:
    return KeepingDesk.at_home(tmp_path / "home")


@pytest.fixture
def call(
    desk: KeepingDesk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    monkeypatch.setenv("FARM_HOME", str(desk.folder))
    return lambda *arguments: typed(capsys, *arguments)


def with_takes(desk: KeepingDesk, *, fails: bool) -> str:
    """A job whose image 2 has a second take, which fails or not."""
    job_id = desk.submit(quality=RULES, axes={"seed": {"count": 4}}, prompt="a")
    judge = Judge(desk.database, SpecStore(desk.store), fence=desk.lead.fence, chunk_s=60)
    while (chunk := desk.cut(job_id)) is not None or judge.judge():
        if chunk is None:
            continue
        if fails and TAKE in chunk.numbers:
            desk.render(chunk, failed=[failed(TAKE)])
            continue
        made = desk.manifest(chunk)["images"]
        desk.runs -= 1
        desk.render(chunk, images=[{**one, "flags": ["low_variance"] * (one["number"] == 2)} for one in made])
    desk.notes.write()
    return job_id


def test_logs_tell_a_failed_take(desk: KeepingDesk, call: Callable[..., Ended]) -> None:
    job_id = with_takes(desk, fails=True)

    lines, entries = call("logs").stdout, json.loads(call("logs", "--json").stdout)

    assert "image 2.1 on n1: error: x" in lines
    assert [entry["image_id"] for entry in entries if entry["what"] == "failed"] == [f"{job_id}/2.1"]
    assert str(TAKE) not in lines + json.dumps(entries)


def test_fsck_and_verify_name_a_take_whose_file_is_lost(desk: KeepingDesk, call: Callable[..., Ended]) -> None:
    job_id = with_takes(desk, fails=False)
    desk.store.delete([str(desk.images(job_id)[TAKE].key)])

    told = call("fsck").stdout
    (problem,) = json.loads(call("fsck", "--json").stdout)["problems"]
    (fault,) = json.loads(call("verify", job_id, "--bytes-only", "--json").stdout)["faults"]

    assert f"missing: job {job_id} image 2.1 " in told
    assert (problem["image_id"], fault["image_id"]) == (f"{job_id}/2.1", f"{job_id}/2.1")
    assert "number" not in problem
    assert "number" not in fault


def test_a_problem_of_no_image_has_no_image_id() -> None:
    assert Problem(kind=Wrong.STRANGER, detail="x", key="k").to_json()["image_id"] is None
    assert str(Fault(number=TAKE, kind="hash", detail="x")) == "image 2.1: hash: x"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("{number}", "2-1"), ("{number:04}", "0002-1"), ("{number!s}", "2-1"), ("{number!r:>6}", "   2-1")],
)
def test_names_of_files_never_hold_the_stored_number(desk: KeepingDesk, pattern: str, name: str) -> None:
    row = desk.images(with_takes(desk, fails=False))[TAKE]

    assert file_name(pattern, row).removesuffix(".png") == name
