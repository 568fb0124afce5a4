"""Replay jobs are removed whatever ends the command that submitted them, and say what they wait for."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dispatcher.farm import Farm
from dispatcher.replaying import running
from dispatcher.replaying.running import Means, Replayer
from dispatcher.replaying.wanting import Replay, grouped, models_of_job, replay_of, used_models
from spec_files import frozen
from storage.errors import StoreAway
from storage.settings import Settings
from storage.spec import Job
from storage.sql import jobs
from storage.states import Wish
from test_replay_wanting import facts_of, originals


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    farm = Farm(Settings(home=tmp_path / "home"))
    farm.database.prepare()
    yield farm
    farm.database.close()


@pytest.fixture
def replays(tmp_path: Path) -> list[Replay]:
    """Two jobs: of two models each has its own."""
    spec = frozen(tmp_path, axes={"model": ["./m", "owner/one"]})
    facts = facts_of(spec)
    known = models_of_job(spec, {key: one.digest for key, one in facts.items()})
    able = [(one, used_models(one.recipe, known)[0]) for one in originals(Job(spec), facts)]
    return [replay_of(group, base=spec, name=f"x{place}-replay") for place, group in enumerate(grouped(able))]


class Deserted:
    """A farm that another process runs, and that has no workers."""

    broker_url = "none"

    def __init__(self, *_: object, **__: object) -> None:
        self.rounds = 0

    def __enter__(self) -> "Deserted":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tend(self) -> None:
        """Have the user lose patience in the third round."""
        self.rounds += 1
        if self.rounds == 3:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def deserted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "EmbeddedFarm", Deserted)
    monkeypatch.setattr(running, "Broker", lambda _: SimpleNamespace(hear=lambda: SimpleNamespace(heartbeats=[])))
    monkeypatch.setattr(running, "POLL_S", 0.0)


def wishes(farm: Farm) -> list[tuple[str, Wish | None]]:
    """Jobs that are left, with what is wished of them."""
    with farm.database.read() as connection:
        return sorted((row.name, row.wish) for row in jobs.listing(connection))


@pytest.mark.parametrize(
    "error", [pytest.param(KeyboardInterrupt(), id="Ctrl-C"), pytest.param(StoreAway("x", "gone"), id="store away")]
)
def test_jobs_that_were_submitted_before_an_error_are_dropped(
    farm: Farm, replays: list[Replay], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def submit(spec: Any, **more: Any) -> Any:
        if spec.name == "x1-replay":
            raise error
        return real(spec, **more)

    real = running.submit
    monkeypatch.setattr(running, "submit", submit)

    with pytest.raises(type(error)):
        Replayer(farm, Means()).run(replays)

    assert wishes(farm) == [("x0-replay", Wish.DROP)]


def test_a_job_that_is_told_to_end_while_it_submits_is_dropped(
    farm: Farm, replays: list[Replay], monkeypatch: pytest.MonkeyPatch
) -> None:
    def freeze(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the process under test is pytest
    monkeypatch.setattr(running.jobs, "freeze_plan", freeze)
    try:
        with pytest.raises(KeyboardInterrupt):
            Replayer(farm, Means()).run(replays)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert wishes(farm) == [("x0-replay", Wish.DROP)]


@pytest.mark.usefixtures("deserted")
def test_what_a_replay_waits_for_is_said_once(farm: Farm, replays: list[Replay]) -> None:
    told: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        Replayer(farm, Means(tell=told.append, wait_s=0.0)).run(replays)

    assert told == ["waits for a worker to start"]
    assert wishes(farm) == [("x0-replay", Wish.DROP), ("x1-replay", Wish.DROP)]


@pytest.mark.usefixtures("deserted")
def test_a_wait_that_may_end_at_once_is_not_said(farm: Farm, replays: list[Replay]) -> None:
    told: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        Replayer(farm, Means(tell=told.append, wait_s=1e9)).run(replays)

    assert told == []
