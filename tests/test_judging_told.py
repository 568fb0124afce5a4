"""What a user is told while a job is being judged: why, show, list and watch say so, with and without workers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from desk import DispatcherDesk, leading_desk
from dispatcher.service.broker import Broker
from dispatcher.views.progress import read_progress
from storage.states import JobState, Wish
from typed import typed

RULES = {"low_variance": "reject"}
Say = Callable[..., str]


@pytest.fixture
def desk(tmp_path: Path, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DispatcherDesk]:
    """A desk whose dispatcher leads, and the environment of somebody who asks."""
    variables = {"FARM_HOME": str(tmp_path), "FARM_BROKER_URL": broker_url, "FARM_TICK_S": "0.05", "COLUMNS": "100"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with leading_desk(tmp_path, broker_url) as desk:
        yield desk


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def run(*arguments: str) -> str:
        ended = typed(capsys, *arguments)
        assert ended.returncode == 0, ended
        return ended.stdout

    return run


@pytest.fixture
def job_id(desk: DispatcherDesk) -> str:
    """A job whose images are all made, and none judged; every third is flat."""
    job_id = desk.submit(quality=RULES)
    while desk.feed() or desk.chunks():
        for chunk in desk.chunks():
            manifest = desk.manifest(chunk)
            for made in manifest["images"]:
                made["flags"] = ["low_variance"] * (made["number"] % 3 == 0)
            desk.recorder.record(desk.put(manifest))
    return job_id


def test_why_says_that_a_job_is_judged_and_then_that_it_is_done(desk: DispatcherDesk, say: Say, job_id: str) -> None:
    during, text = json.loads(say("why", job_id, "--json")), say("why", job_id)
    desk.judge.judge()
    after = json.loads(say("why", job_id, "--json"))

    assert (during["state"], during["reason"], during["done"]) == (JobState.RUNNING, "judging", 16)
    assert (during["workers"], during["under_way"], during["helps"]) == ([], [], [])
    assert during["says"] in text.replace("\n", " ")
    assert (after["state"], after["reason"], after["rejected"]) == (JobState.DONE, "ended", 6)


def test_a_job_that_was_paused_before_it_was_judged_says_that_it_is_paused(
    desk: DispatcherDesk, say: Say, job_id: str
) -> None:
    desk.wish(job_id, Wish.PAUSE)

    assert json.loads(say("why", job_id, "--json"))["reason"] == "paused"


def test_watch_says_that_a_job_is_judged_whether_or_not_a_worker_is_there(
    desk: DispatcherDesk, broker_url: str, job_id: str
) -> None:
    alone = read_progress(desk.database, Broker(broker_url), job_id)
    apart = read_progress(desk.database, Broker("redis://127.0.0.1:1/0"), job_id)
    desk.judge.judge()
    after = read_progress(desk.database, Broker(broker_url), job_id)

    assert list(alone.workers) == []
    assert (alone.waits_for, apart.waits_for, after.waits_for) == ("judging its images",) * 2 + ("",)
    assert (alone.is_over, alone.ended, after.is_over) == (False, 16, True)


def test_show_and_list_tell_a_job_that_is_not_judged_yet(desk: DispatcherDesk, say: Say, job_id: str) -> None:
    during, listed = json.loads(say("show", job_id, "--json")), json.loads(say("ls", "--json"))
    desk.judge.judge()
    after = json.loads(say("show", job_id, "--json"))

    assert (during["state"], during["judged"], during["rejected"], during["rejections"]) == ("running", False, 0, {})
    assert [(row["state"], row["judged"]) for row in listed] == [("running", False)]
    assert (after["state"], after["judged"], after["rejected"]) == ("done", True, 6)
    assert after["rejections"] == {"low_variance": 6}
