"""The whole core under a worker that does anything at any time: no image is lost, doubled or forgotten.

Hypothesis writes the story: submit, feed, finish, fail, stop halfway, die, lie, lose messages, lose Redis' memory,
cancel. After every step the books must balance; at the end an honest worker finishes what is left.
"""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from desk import DispatcherDesk, failed
from storage.errors import ManifestRefused
from storage.sql import Database
from storage.states import ChunkState, JobState

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
        self.desk = DispatcherDesk(self.database, folder, self.broker_url, max_attempts=50)
        self.boot = 0
        self.jobs: list[str] = []
        self.stored: list[str] = []  # manifests that lie in the store, recorded or not

    def teardown(self) -> None:
        self.desk.finish(limit=200)
        for job_id in self.jobs:
            row = self.desk.job(job_id)
            assert not row.is_open
            if row.state == JobState.DONE:
                assert sorted(self.desk.images(job_id)) == list(range(row.images))
        self.database.close()
        self.desk.redis.close()
        self._folder.cleanup()

    def _beat(self, **more: Any) -> Any:
        return self.desk.beat(boot=f"b{self.boot}", **more)

    @precondition(lambda self: len(self.jobs) < MAX_JOBS)
    @rule(seeds=st.integers(1, 6), prompts=st.integers(1, 2), batch=st.integers(1, 3))
    def submit(self, seeds: int, prompts: int, batch: int) -> None:
        axes = {"prompt": ["a", "b"][:prompts], "seed": {"count": seeds}}
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

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        self.desk.cancel(self.jobs[pick % len(self.jobs)])

    @invariant()
    def the_books_balance(self) -> None:
        ways = {state: self.desk.chunks(state) for state in (ChunkState.READY, ChunkState.ISSUED)}
        assert len(ways[ChunkState.ISSUED]) <= 2 * (self.boot + 1)
        for job_id in self.jobs:
            row, made = self.desk.job(job_id), self.desk.images(job_id)
            assert row.done + row.failed == len(made) <= row.images
            waiting = [
                number for chunks in ways.values() for part in chunks if part.job == job_id for number in part.numbers
            ]
            assert len(waiting) == len(set(waiting))
            assert not set(waiting) & set(made)
            if row.state == JobState.RUNNING:
                assert len(made) + len(waiting) + (row.positions - row.cursor) == row.images
            if row.state == JobState.DONE:
                assert waiting == []
                assert len(made) == row.images


def test_no_story_loses_doubles_or_forgets_an_image(broker_url: str) -> None:
    Story.broker_url = broker_url

    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
