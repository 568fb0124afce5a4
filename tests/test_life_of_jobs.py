"""The whole core under a worker that does anything at any time: no image is lost, doubled or forgotten.

Hypothesis writes the story: submit, feed, finish, fail, stop halfway, die, lie, lose messages, lose Redis' memory,
pause, resume, cancel, drop, retry, budgets; broker or store may be away. After every step the
books must balance; at the end everything is resumed, and an honest worker finishes what is left.

A story must go the same way however often it is told, or Hypothesis gives up on it ("inconsistent data generation"):
so jobs get their ids in order, as chunks are sorted by them, and nothing hangs on how fast this machine is.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from desk import DispatcherDesk, failed
from dispatcher import submission
from dispatcher.service.feeding import feeder
from storage.errors import BrokerAway, FarmError, ManifestRefused, StoreAway
from storage.spec import Numbers
from storage.sql import Database
from storage.sql.jobs import UNWANTED
from storage.sql.tables import rest
from storage.states import ChunkState, ImageState, JobState, Wish
from storage.wire import keys

MAX_JOBS = 3


class Story(RuleBasedStateMachine):
    """One farm on SQLite, with one worker called n1 that has had several boots."""

    broker_url = ""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self.database = Database(f"sqlite:///{folder / 'farm.sqlite'}")
        self.database.prepare()
        self.desk = DispatcherDesk(self.database, folder, self.broker_url)
        self.desk.redis.flushdb()  # an earlier story had jobs of the same ids
        self.boot = 0
        self.jobs: list[str] = []
        self.stored: list[str] = []  # manifests that lie in the store, recorded or not

    def teardown(self) -> None:
        for job_id in self.jobs:
            if self.desk.job(job_id).wish not in UNWANTED:
                self.desk.wish(job_id, Wish.RESUME, max_device_seconds=None)
        for _ in range(3):  # a failed job that is tried once more is resolved first
            self.desk.wishes.fulfil()
            self._forgive()
            self.desk.finish(limit=200)
        for job_id in self.jobs:
            row, made = self.desk.job(job_id), self.desk.images(job_id)
            assert not row.is_open
            if row.state == JobState.DONE:
                assert sorted(made) == list(range(row.images))
            if row.wish == Wish.DROP and row.state == JobState.CANCELLED:
                assert made == {}
        self.database.close()
        self.desk.redis.close()
        self._folder.cleanup()

    def _forgive(self) -> None:
        """Let no worker rest: there is only one."""
        with self.database.write() as connection:
            connection.execute(rest.delete())

    def _beat(self, **more: Any) -> Any:
        return self.desk.beat(boot=f"b{self.boot}", **more)

    @precondition(lambda self: len(self.jobs) < MAX_JOBS)
    @rule(seeds=st.integers(1, 6), prompts=st.integers(1, 2), batch=st.integers(1, 3))
    def submit(self, seeds: int, prompts: int, batch: int) -> None:
        axes = {"prompt": ["a", "b"][:prompts], "seed": {"count": seeds}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(submission, "new_id", lambda: f"job{len(self.jobs)}")
            self.jobs.append(self.desk.submit(axes=axes, plan={"batch": batch}))

    @rule()
    def feed(self) -> None:
        self.desk.feed(self._beat())

    @precondition(lambda self: self.desk.chunks())
    @rule(pick=st.integers(0, 9), fail=st.integers(0, 2), leave=st.integers(0, 2), heard=st.booleans())
    def end_a_run(self, pick: int, fail: int, leave: int, heard: bool) -> None:
        """A worker ends a run: some images fail, some are left, and its message may be lost."""
        chunk = self.desk.chunks()[pick % len(self.desk.chunks())]
        numbers = list(chunk.numbers)
        bad, untried = numbers[:fail], numbers[fail : fail + leave]
        ranges = [[number, number + 1, 1] for number in untried]
        key = self.desk.put(self.desk.manifest(chunk, failed=[failed(number) for number in bad], untried=ranges))
        self.stored.append(key)
        if heard:
            self.desk.recorder.record(key)

    @precondition(lambda self: self.stored)
    @rule(pick=st.integers(0, 99))
    def deliver_late_or_twice(self, pick: int) -> None:
        self.desk.recorder.record(self.stored[pick % len(self.stored)])

    @precondition(lambda self: self.desk.chunks())
    @rule()
    def lie(self) -> None:
        chunk = self.desk.chunks()[0]
        forged = {**self.desk.manifest(chunk), "spec_hash": "another"}
        with pytest.raises(ManifestRefused):
            self.desk.recorder.record(self.desk.put(forged))

    @rule()
    def restart_the_worker(self) -> None:
        self.desk.hear(self._beat())
        self.boot += 1
        self.desk.hear(self._beat())
        self.desk.take_back()

    @rule(seconds=st.floats(0, 200))
    def wait(self, seconds: float) -> None:
        self.desk.hear(self._beat(), after=seconds)
        self.desk.take_back()

    @rule()
    def redis_forgets(self) -> None:
        self.desk.redis.flushdb()
        self.desk.hear(self._beat())
        self.desk.take_back(forgot=True)

    @rule()
    def the_broker_is_away_when_chunks_are_sent(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.desk.broker, "send", away(BrokerAway("broker", "a test")))
            with contextlib.suppress(BrokerAway):
                self.feed()

    @rule()
    def the_store_is_away_when_a_worker_is_lost(self) -> None:
        """That there is no manifest must be an answer: without one nothing is issued again."""
        before = [(chunk.id, chunk.attempt) for chunk in self.desk.chunks(ChunkState.READY)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.desk.store, "list", away(StoreAway("store", "a test")))
            with contextlib.suppress(StoreAway):
                self.restart_the_worker()
        assert [(chunk.id, chunk.attempt) for chunk in self.desk.chunks(ChunkState.READY)] == before

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0, 9), wanted=st.sampled_from(list(Wish)))
    def wish(self, pick: int, wanted: Wish) -> None:
        """A user wishes what the commands let them wish; unwanted jobs stay so."""
        row = self.desk.job(self.jobs[pick % len(self.jobs)])
        if wanted != Wish.RUN and row.is_open and (row.wish not in UNWANTED or wanted in UNWANTED):
            self.desk.wish(row.id, wanted)

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0, 9), numbers=st.lists(st.integers(0, 12), max_size=3, unique=True))
    def retry(self, pick: int, numbers: list[int]) -> None:
        row = self.desk.job(self.jobs[pick % len(self.jobs)])
        self.desk.wish(row.id, row.wish, retry=numbers)

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0, 9), seconds=st.floats(0.1, 5))
    def budget(self, pick: int, seconds: float) -> None:
        row = self.desk.job(self.jobs[pick % len(self.jobs)])
        self.desk.wish(row.id, row.wish, max_device_seconds=seconds)

    @precondition(lambda self: self.desk.chunks())
    @rule(pick=st.integers(0, 9))
    def begin(self, pick: int) -> None:
        """A worker takes the token of a chunk: it cannot be withdrawn any more."""
        chunk = self.desk.chunks()[pick % len(self.desk.chunks())]
        self.desk.redis.delete(keys.token_key(chunk.job, chunk.number, chunk.attempt))

    @precondition(lambda self: any(chunk.boot == f"b{self.boot}" for chunk in self.desk.chunks()))
    @rule(pick=st.integers(0, 9), known=st.integers(0, 3))
    def die(self, pick: int, known: int) -> None:
        """The worker's process dies with a chunk in its hands."""
        mine = [chunk for chunk in self.desk.chunks() if chunk.boot == f"b{self.boot}"]
        chunk = mine[pick % len(mine)]
        self.desk.hear(self._beat(holding=chunk, child=f"c{self.desk.beats}"))
        self.desk.hear(self.desk.ended(chunk, list(chunk.numbers)[:known], child=f"d{self.desk.beats}"))
        self.desk.take_back()
        self._forgive()

    @precondition(lambda self: any(chunk.kind == "render" for chunk in self.desk.chunks()))
    @rule(bad=st.integers(1, 3), memory=st.booleans())
    def break_down(self, bad: int, memory: bool) -> None:
        """A run ends early by a broken device, or for want of memory, after it made some images."""
        chunk = next(chunk for chunk in self.desk.chunks() if chunk.kind == "render")
        left = list(chunk.numbers)[len(chunk.numbers) // 2 :]
        reason = "out_of_memory" if memory else "device_error"
        fault = {"reason": reason, "detail": "x", "ranges": Numbers.of(left[:bad]).to_json()}
        manifest = self.desk.manifest(chunk, untried=Numbers.of(left).to_json(), fault=fault, device="elsewhere")
        self.desk.recorder.record(self.desk.put(manifest))
        self._forgive()

    @precondition(lambda self: self.desk.chunks())
    @rule(here=st.booleans())
    def refuse(self, here: bool) -> None:
        """A worker cannot render a job at all, or only this worker cannot."""
        chunk = self.desk.chunks()[0]
        self.desk.live = frozenset({"n1", "n2"} if here else {"n1"})
        fatal = self.desk.manifest(chunk, images=[], models={}, fatal="no weights", fatal_here=here)
        self.desk.recorder.record(self.desk.put(fatal))
        self._forgive()

    @invariant()
    def the_books_balance(self) -> None:
        ways = {state: self.desk.chunks(state) for state in (ChunkState.READY, ChunkState.ISSUED)}
        assert len(ways[ChunkState.ISSUED]) <= 3 * (self.boot + 1)  # one runs, one waits, and one that was lost
        for job_id in self.jobs:
            row, made = self.desk.job(job_id), self.desk.images(job_id)
            assert row.done + row.failed == len(made) <= row.images
            waiting = [
                number for chunks in ways.values() for part in chunks if part.job == job_id for number in part.numbers
            ]
            assert len(waiting) == len(set(waiting))
            assert not set(waiting) & set(made)
            assert row.done == sum(image.state == ImageState.DONE for image in made.values())
            if row.state in (JobState.RUNNING, JobState.PAUSED, JobState.STOPPED) and row.retry is None:
                assert len(made) + len(waiting) + (row.positions - row.cursor) == row.images
            if row.state == JobState.DONE:
                assert waiting == []
                assert len(made) == row.images


def away(error: FarmError) -> Callable[..., Any]:
    """A part that does not answer."""

    def ask(*_: Any, **__: Any) -> Any:
        raise error

    return ask


@pytest.fixture
def _told_here(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Story, "broker_url", broker_url)
    monkeypatch.setattr(feeder, "LINK_S", math.inf)


@pytest.mark.usefixtures("_told_here")
def test_a_story_goes_the_same_way_however_often_it_is_told() -> None:
    first, second = _tell(), _tell()

    assert len({job for job, *_ in first}) == MAX_JOBS
    assert first == second


def _tell() -> list[tuple[object, ...]]:
    """A story of three jobs. Returns every chunk of it, before its end."""
    story = Story()
    for seeds in (3, 5, 4):
        story.submit(seeds=seeds, prompts=2, batch=1)
    for step in range(9):
        story.feed()
        story.end_a_run(pick=step, fail=0, leave=step % 2, heard=True)
    story.redis_forgets()
    story.feed()
    found: list[tuple[object, ...]] = [
        (*chunk.id, state, chunk.attempt, chunk.faults, tuple(chunk.numbers))
        for state in ChunkState
        for chunk in story.desk.chunks(state)
    ]
    story.teardown()
    return found


@pytest.mark.usefixtures("_told_here")
def test_no_story_loses_doubles_or_forgets_an_image() -> None:
    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
