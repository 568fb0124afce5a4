"""farm why, workers, priority and drain: what they say is what is decided, in every state, with parts away."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from desk import MODEL, DispatcherDesk, leading_desk
from dispatcher.service.broker import BEAT_LIVES_S
from feeding import change, enter, first_of, record, resolved
from storage.sql import jobs, workers
from storage.states import JobState, Priority, Wish
from storage.wire.keys import worker_key
from storage.wire.messages import Heartbeat
from typed import typed

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
    def run(*arguments: str, code: int = 0) -> str:
        ended = typed(capsys, *arguments)
        assert ended.returncode == code, ended
        return ended.stdout + ended.stderr

    return run


def appear(desk: DispatcherDesk, *beats: Heartbeat, age_s: int = 0) -> None:
    """Workers write their heartbeats."""
    for beat in beats:
        desk.redis.set(worker_key(beat.node), beat.model_dump_json(), ex=BEAT_LIVES_S - age_s)


def why(say: Say, job_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(say("why", job_id, "--json"))
    return answer


@pytest.mark.parametrize(
    ("state", "values", "reason", "words", "helps"),
    [
        pytest.param(JobState.DONE, {}, "ended", "every image is made or has failed", [], id="done"),
        pytest.param(JobState.FAILED, {"reason": "no model"}, "ended", "no model", ["logs", "retry"], id="failed"),
        pytest.param(JobState.CANCELLED, {}, "ended", "its user cancelled it", [], id="cancelled"),
        pytest.param(JobState.PAUSED, {"wish": Wish.PAUSE}, "paused", "its user paused it", ["resume"], id="paused"),
        pytest.param(
            JobState.PAUSED, {"wish": Wish.RESUME}, "paused", "it was told to go on", ["resume"], id="about to go on"
        ),
        pytest.param(JobState.DONE, {"short": 2}, "ended", "ask for more accepted images than", ["logs"], id="short"),
        pytest.param(JobState.STOPPED, {"reason": "budget"}, "stopped", "by itself: budget", [], id="stopped"),
    ],
)  # fmt: skip
def test_a_job_that_stands_still_is_told_by_its_state(
    desk: DispatcherDesk, say: Say, state: JobState, values: dict[str, Any], reason: str, words: str, helps: list[str]
) -> None:
    job_id = resolved(desk)
    enter(desk, job_id, state, **values)

    said = why(say, job_id)

    assert (said["state"], said["reason"]) == (state, reason)
    assert words in said["says"]
    assert said["helps"] == [f"./farm {command} {job_id}" for command in helps]


@pytest.mark.parametrize(
    ("values", "reason", "words"),
    [
        pytest.param({"deadline": 1.0}, "deadline", "deadline passed at 1970", id="deadline"),
        pytest.param(
            {"max_device_seconds": 3600.0, "device_seconds": 5400.0}, "budget", "1.50 of 1.00 device hours", id="budget"
        ),
        pytest.param({"wish": Wish.CANCEL}, "wish", "its user cancelled it", id="cancel"),
        pytest.param({"wish": Wish.PAUSE_AFTER_CHUNKS}, "wish", "what runs ends first", id="pause"),
        pytest.param({"cursor": 16}, "all-issued", "is with workers", id="all issued"),
        pytest.param({}, None, "dispatcher's next round", id="its turn now"),
    ],
)
def test_an_open_job_is_told_by_what_holds_it(
    desk: DispatcherDesk, say: Say, values: dict[str, Any], reason: str | None, words: str
) -> None:
    job_id = resolved(desk)
    change(desk, job_id, name="mine", **values)
    appear(desk, desk.beat())

    said = why(say, job_id)

    assert said["reason"] == reason
    assert words in said["says"]
    if reason in ("budget", "deadline"):
        assert said["helps"][0].startswith(f"./farm resume {job_id} --")


def test_a_job_whose_models_are_read_says_so(desk: DispatcherDesk, say: Say) -> None:
    job_id = desk.submit()
    desk.feed()
    appear(desk, desk.beat(holding=desk.issued()))

    said = why(say, job_id)

    assert (said["reason"], said["says"]) == ("models", "a worker is reading its models")
    assert said["under_way"][0]["says"] == "reads its models: running"


def test_every_worker_says_why_it_does_not_take_it(desk: DispatcherDesk, say: Say) -> None:
    resolved(desk, plan={"batch": 4})
    desk.feed()
    chunk = desk.chunks()[0]
    assert chunk.plan is not None
    small = desk.beat("small").model_copy(update={"memory_bytes": 2**30})
    with desk.database.write() as connection:
        workers.wish_worker(connection, "drained", "drain", 1.0)
        for _ in range(3):
            workers.note_failure(connection, "tired", MODEL.digest, 2e9, 1.0)
        workers.note_limit(
            connection, device=small.device_key, plan_id=jobs.plan_id(connection, chunk.plan), model=MODEL.digest,
            size=(64, 64), detail="x", now=1.0,
        )  # fmt: skip
    appear(desk, desk.beat("n1", holding=chunk), desk.beat("drained"), desk.beat("tired"), small)
    appear(desk, desk.beat("quiet"), age_s=90)
    desk.redis.set("seedfarm:quarantine:broken", '{"reason": "CUDA error 700"}')
    waiting = resolved(desk, plan={"batch": 4})

    rows = {row["node"]: row for row in why(say, waiting)["workers"]}
    text = say("why", waiting)

    assert {node: row["reason"] for node, row in rows.items()} == {
        "drained": "drains", "tired": "rests", "small": "too-large", "n1": "busy", "quiet": "no-worker",
        "broken": "no-worker",
    }  # fmt: skip
    assert "CUDA error 700" in rows["broken"]["says"]
    assert max(map(len, text.splitlines())) <= 100
    assert "it is the next one" in text


def test_a_full_worker_names_the_job_that_goes_first(desk: DispatcherDesk, say: Say) -> None:
    slow = resolved(desk, priority=Priority.BACKGROUND)
    ahead = resolved(desk, axes={"prompt": ["a", "b"], "seed": {"count": 40}})
    change(desk, ahead, name="ahead", user="bob")
    desk.feed()
    appear(desk, desk.beat(holding=desk.chunks()[0]))

    said, text = why(say, slow), say("why", slow)

    assert said["reason"] == "higher-class"
    assert "then job ahead of bob: normal goes before background" in said["workers"][0]["says"]
    assert f"./farm priority {slow} normal" in text


@pytest.mark.parametrize("kind", ["never", "gave up", "died", "frozen"])
def test_why_works_while_nobody_leads(
    desk: DispatcherDesk, say: Say, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from dispatcher.views import hall
    from storage.sql.leading import Lead

    here = hall.socket.gethostname()
    leads = {
        "never": (None, "no dispatcher leads; start one"), "gave up": (Lead(1, 1, ""), "no dispatcher leads"),
        "died": (Lead(1, 1, f"{here}:4194999:x"), "is gone (process 4194999)"),
        "frozen": (Lead(1, 1, "far:7:x"), "the dispatcher on far (process 7) has stood still for 2 s"),
    }  # fmt: skip
    monkeypatch.setattr(hall, "_peek", lambda database: leads[kind][0])
    job_id = resolved(desk)

    said = why(say, job_id)

    assert said["reason"] == "no-leader"
    assert leads[kind][1] in said["says"]


def test_why_works_while_the_broker_is_away(desk: DispatcherDesk, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = resolved(desk)
    monkeypatch.setenv("FARM_BROKER_URL", "redis://127.0.0.1:1/0")

    said = why(say, job_id)

    assert said["reason"] == "no-broker"
    assert "workers cannot be reached: broker redis://127.0.0.1:1/0 does not answer" in said["says"]


def test_why_says_that_no_worker_is_there(desk: DispatcherDesk, say: Say) -> None:
    said = why(say, resolved(desk))

    assert (said["reason"], said["helps"]) == ("no-worker", ["farm-worker start, on every host with a device"])


def test_why_works_while_the_store_is_away(desk: DispatcherDesk, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = resolved(desk)
    with desk.database.write() as connection:
        workers.note_failure(connection, "n1", MODEL.digest, 1.0, 1.0)
    monkeypatch.setenv("FARM_STORE_URL", "s3://bucket/x")
    monkeypatch.setenv("FARM_S3_ENDPOINT", "http://127.0.0.1:1")
    appear(desk, desk.beat())

    assert why(say, job_id)["reason"] is None


def test_workers_are_listed_with_what_they_do_and_what_keeps_them(desk: DispatcherDesk, say: Say) -> None:
    job_id, chunk = first_of(desk, plan={"batch": 8})
    spooled = [{"job": job_id, "chunk": 9, "attempt": 1}]
    gpu = desk.beat("gpu0", resident=["x", "y"], spooled=spooled, trouble="store away since 12:00").model_copy(
        update={"memory_bytes": 80 * 2**30, "device": "NVIDIA H100 80GB HBM3", "device_type": "cuda"}
    )
    appear(desk, desk.beat("n1", holding=chunk), gpu)
    appear(desk, desk.beat("quiet"), age_s=60)
    desk.redis.set("seedfarm:quarantine:broken", '{"reason": "3 times a broken device within 10 minutes"}')
    say("drain", "n1")

    text = say("workers")
    entries = {entry["node"]: entry for entry in json.loads(say("workers", "--json"))}

    assert list(entries) == ["broken", "gpu0", "n1", "quiet"]
    assert max(map(len, text.splitlines())) <= 100
    assert entries["gpu0"]["memory_gib"] == 80
    assert entries["gpu0"]["notes"] == ["1 chunk waits on its disk for the store", "store away since 12:00"]
    assert entries["n1"]["does"] == "job: running"
    assert entries["n1"]["notes"] == ["drained; undo: ./farm drain n1 --undo"]
    assert entries["quiet"]["does"].startswith("silent for 6")
    assert entries["broken"]["does"] == "quarantined: 3 times a broken device within 10 minutes"


def test_workers_without_a_broker_fails_and_says_so(
    desk: DispatcherDesk, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_BROKER_URL", "redis://127.0.0.1:1/0")

    assert "does not answer" in say("workers", code=1)


def test_draining_is_a_wish_that_can_be_taken_back(desk: DispatcherDesk, say: Say) -> None:
    appear(desk, desk.beat("n1"))
    wishes = []

    for more in ((), ("--now",), ("--undo",)):
        say("drain", "n1", *more)
        with desk.database.read() as connection:
            wishes.append(workers.wishes(connection))

    assert wishes == [{"n1": "drain"}, {"n1": "stop"}, {}]


def test_an_unknown_worker_is_answered_with_the_nearest_name(desk: DispatcherDesk, say: Say) -> None:
    appear(desk, desk.beat("host-gpu0"), desk.beat("host-gpu1"))

    said = say("drain", "hots-gpu1", code=2)

    assert "worker 'hots-gpu1': unknown; did you mean 'host-gpu1'?" in said


def test_a_worker_that_had_work_can_be_drained_while_the_broker_is_away(
    desk: DispatcherDesk, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_of(desk, plan={"batch": 8})
    monkeypatch.setenv("FARM_BROKER_URL", "redis://127.0.0.1:1/0")

    assert "gets nothing new" in say("drain", "n1")


def test_a_priority_is_written_and_acted_on(desk: DispatcherDesk, say: Say) -> None:
    job_id = resolved(desk)

    said = say("priority", job_id, "interactive")
    desk.feed()

    assert f"({job_id}) is interactive now" in said
    assert desk.redis.llen("render.n1.b") == 2


def test_the_priority_of_a_job_that_ended_is_left_alone(desk: DispatcherDesk, say: Say) -> None:
    job_id, chunk = first_of(desk, plan={"batch": 8})
    record(desk, chunk)

    said = say("priority", job_id, "background")

    assert "is done already; nothing was changed" in said
    assert desk.job(job_id).priority == Priority.NORMAL
