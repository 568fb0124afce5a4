"""Errors that nobody expects: what one job raises holds up no other, and the thread that judges lives on."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from desk import DispatcherDesk
from dispatcher.service import process
from judging_desk import REJECT, flat, work
from storage.blobs import FolderStore
from storage.errors import DatabaseAway
from storage.settings import Settings
from storage.sql import Database, quality
from storage.states import JobState


@pytest.fixture
def desk(tmp_path: Path, database: Database, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url)


def broken_off(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.getMessage() == "judging broken off"]


def test_a_job_that_cannot_be_judged_holds_up_no_other_and_is_told_once(
    desk: DispatcherDesk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = desk.submit(quality=REJECT), desk.submit(quality=REJECT, name="sound")
    work(desk, flat(3), judge=False)
    real = quality.page

    def page(connection: Any, job_id: str, **more: Any) -> Any:
        if job_id == broken:
            raise IndexError(16)
        return real(connection, job_id, **more)

    monkeypatch.setattr(quality, "page", page)
    judged = [desk.judge.judge(), desk.judge.judge()]
    states = [desk.job(job_id).state for job_id in (broken, sound)]
    told = broken_off(caplog)
    monkeypatch.undo()

    assert judged == [1, 0]
    assert states == [JobState.RUNNING, JobState.DONE]
    assert [record.job for record in told] == [broken]
    assert told[0].exc_info
    assert desk.judge.judge() == 1
    assert desk.job(broken).state == JobState.DONE


def test_a_database_that_is_away_is_the_trouble_of_all_jobs(
    desk: DispatcherDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit(quality=REJECT)
    work(desk, flat(3), judge=False)

    def away(*_: Any, **__: Any) -> Any:
        raise DatabaseAway("x", "y")

    monkeypatch.setattr(quality, "page", away)
    with pytest.raises(DatabaseAway):
        desk.judge.judge()


@pytest.mark.parametrize("thread", ["judging", "notes"])
def test_a_thread_goes_on_after_an_error_that_nobody_expected(
    tmp_path: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    thread: str,
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(process, "RecordConsumer", lambda *_, **__: None)  # Celery knows one in a process
    settings = Settings(home=tmp_path, tick_s=0.01)
    dispatcher = process.Dispatcher(
        settings, database, FolderStore(tmp_path / "store"), broker_url="redis://127.0.0.1:1/0"
    )
    part = _Part(dispatcher, [IndexError(16), IndexError(16), DatabaseAway("x", "y"), DatabaseAway("x", "y")])
    dispatcher._judge = dispatcher._notes = part  # type: ignore[assignment]
    assert dispatcher._lead.seek()

    dispatcher._judge_jobs() if thread == "judging" else dispatcher._note()

    assert [record.getMessage() for record in caplog.records] == [f"{thread} broken off", f"{thread} put off"]
    assert part.ended


class _Part:
    """Raises what it is given, call by call, then ends the dispatcher."""

    def __init__(self, dispatcher: process.Dispatcher, errors: list[Exception]) -> None:
        self.ended = False
        self._dispatcher = dispatcher
        self._errors: Iterator[Exception] = iter(errors)

    def judge(self) -> int:
        for error in self._errors:
            raise error
        self._dispatcher.stop()
        self.ended = True
        return 0

    write = judge
