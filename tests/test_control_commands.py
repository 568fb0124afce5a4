"""Commands on a farm that works, as a user types them, and what comes of each: terms, workers, retries, growth."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farm_desk import Desk, wait_until
from storage.sql import Database, chunks, jobs
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import JobRow
from storage.states import ChunkState, JobState
from typed import Ended, typed

IMAGES = 48
BUSY = {"seconds_per_step": 0.1, "FARM_CHUNK_S": "1"}


class Typist(Desk):
    """A desk at which commands that only look and wish run in this process, which is quicker."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **settings: Any
    ) -> None:
        super().__init__(folder, **settings)
        self._capsys = capsys
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)

    def type(self, *words: str) -> Ended:
        return typed(self._capsys, *words)

    def said(self, *words: str) -> str:
        """What a command says, which must go well."""
        ended = self.type(*words)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def why(self) -> dict[str, Any]:
        """The answer of `farm why` for the newest job."""
        answer: dict[str, Any] = json.loads(self.said("why", "--json"))
        return answer


@pytest.fixture
def make_desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Typist]]:
    desks: list[Typist] = []

    def make(**settings: object) -> Typist:
        desks.append(Typist(tmp_path, monkeypatch, capsys, **settings))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


def row_of(desk: Desk, name: str = "@last") -> JobRow:
    return read(desk, name)[0]


def read(desk: Desk, name: str = "@last") -> tuple[JobRow, list[ChunkRow]]:
    """A job and its chunks that ended."""
    database = Database(f"sqlite:///{desk.home / 'farm.sqlite'}")
    try:
        with database.read() as connection:
            row = jobs.find(connection, name)
            return row, chunks.in_state(connection, ChunkState.DONE, job_id=row.id)
    finally:
        database.close()


def check_whole(desk: Desk, name: str, images: int) -> None:
    """Every image of a job that is done is there, once."""
    row, ended = read(desk, name)
    rendered = [number for chunk in ended if chunk.kind == "render" for number in chunk.numbers]
    rows = desk.images(name)
    assert (row.state, row.done, sorted(rows)) == (JobState.DONE, images, list(range(images)))
    assert len({image.key for image in rows.values()}) == images
    assert set(rendered) == set(rows)
    desk.check_objects(rows)


def test_a_drained_worker_gives_its_device_back_amid_a_chunk_and_goes_on_when_told(
    make_desk: Callable[..., Typist],
) -> None:
    desk = make_desk(**BUSY)
    desk.start_farm("up")
    desk.said("submit", str(desk.write_job()))
    wait_until(lambda: desk.done() >= 2, what="the first images")
    node = json.loads(desk.said("workers", "--json"))[0]["node"]

    desk.said("drain", node, "--now")
    wait_until(lambda: desk.why()["under_way"] == [], what="an idle worker")
    held = desk.done()
    why = desk.why()
    does = desk.said("workers")
    still = desk.done()
    desk.said("drain", node, "--undo")
    desk.said("watch", "@last", "--plain")

    assert held == still < IMAGES
    assert why["reason"] == "drains"
    assert f"drained; undo: ./farm drain {node} --undo" in does
    check_whole(desk, "desk", IMAGES)


def test_a_pause_after_chunks_ends_what_runs_and_a_job_that_is_extended_meanwhile_still_waits(
    make_desk: Callable[..., Typist],
) -> None:
    desk = make_desk(**BUSY)
    desk.start_farm("up")
    desk.said("submit", str(desk.write_job(axes={"prompt": ["a fox", "two"], "seed": {"count": 12}})))
    wait_until(lambda: desk.done() >= 2, what="the first images")

    desk.said("pause", "@last", "--after-chunks")
    wait_until(lambda: row_of(desk).state == JobState.PAUSED, what="the pause")
    wait_until(lambda: desk.why()["under_way"] == [], what="the end of what ran")
    held, told = row_of(desk).done, desk.said("extend", "@last", "--prompt", "three", "--seeds", "2")
    waits = row_of(desk)
    desk.said("resume")
    desk.said("watch", "@last", "--plain")

    assert 0 < held == waits.done < 24
    assert "it is paused; go on: ./farm resume" in told
    assert "in part" not in desk.said("logs"), "what ran was not stopped"
    check_whole(desk, "desk", 42)


def test_an_interactive_job_goes_first_and_a_class_may_be_changed_while_it_waits(
    make_desk: Callable[..., Typist],
) -> None:
    desk = make_desk(**BUSY)
    desk.start_farm("up")
    bulk = str(desk.write_job(name="bulk", axes={"prompt": ["a fox"], "seed": {"count": 200}}))
    desk.said("submit", bulk, "--priority", "background")
    wait_until(lambda: desk.done() >= 2, what="the first images")
    desk.said("submit", str(desk.write_job(name="later", axes={"prompt": ["later"], "seed": {"count": 4}})))
    desk.said("priority", "later", "background")
    desk.said("submit", str(desk.write_job(name="look", axes={"prompt": ["a look"]})), "--priority", "background")
    desk.said("priority", "look", "interactive")
    desk.said("watch", "look", "--plain")
    bulk_then = row_of(desk, "bulk")
    desk.said("priority", "later", "interactive")
    desk.said("watch", "later", "--plain")

    assert bulk_then.state == row_of(desk, "bulk").state == JobState.RUNNING
    desk.said("cancel", "bulk")
    wait_until(lambda: row_of(desk, "bulk").state == JobState.CANCELLED, what="the end of the bulk")
    kept = desk.images("bulk")
    assert 0 < len(kept) < 200
    desk.check_objects(kept)


def test_a_deadline_stops_a_job_until_it_is_told_another_one(make_desk: Callable[..., Typist]) -> None:
    desk = make_desk(**BUSY)
    file = str(desk.write_job(axes={"seed": {"count": 20}}, prompt="a fox"))
    desk.said("submit", file, "--deadline", "+1s")

    late = desk.type("run", file, "--plain")
    refused = desk.type("resume")
    desk.said("resume", "@last", "--deadline", "+2h")
    desk.said("run", file, "--plain")

    assert (late.returncode, refused.returncode) == (1, 2)
    assert "stopped: deadline passed; 'farm resume" in late.stderr
    assert "would stop again at once" in refused.stderr
    check_whole(desk, "desk", 20)


def test_a_job_of_failures_stops_itself_and_one_image_can_be_tried_again(make_desk: Callable[..., Typist]) -> None:
    desk = make_desk(FARM_STOP_AFTER_FAILURES="4", FARM_CHUNK_S="1")
    (desk.folder / "model" / "fake.json").write_text(json.dumps({"width": 32, "fail_seeds": list(range(500))}))
    file = str(desk.write_job(axes={"prompt": ["a fox"], "seed": {"count": 500}}))

    ended = desk.type("run", file, "--plain")
    stopped = row_of(desk)
    failed = min(desk.images())
    told = desk.said("retry", "@last", "--image", str(failed))
    desk.said("resume")
    again = desk.type("run", file, "--plain")
    alone = [chunk for chunk in read(desk)[1] if list(chunk.numbers) == [failed]]

    assert (ended.returncode, again.returncode, stopped.state) == (1, 1, JobState.STOPPED)
    assert "images failed, the last one: error: RuntimeError: seed" in ended.stderr
    assert "then 'farm resume" in ended.stderr
    assert f"tries image {failed} once more" in told
    assert 4 <= stopped.failed < 500
    assert len(alone) == 1, "it went out once more, and nothing else that had failed did"
