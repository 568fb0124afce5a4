"""Jobs that are extended after they were judged, or while they are."""

from pathlib import Path
from typing import Any

import pytest

from desk import DispatcherDesk
from dispatcher.extension import store_extension
from dispatcher.quality import judging
from dispatcher.quality.verdicts import verdicts
from judging_desk import AGAIN, REJECT, flat, rejected, work
from storage.spec import Spec
from storage.spec.growth import add_values
from storage.spec.number import number_of
from storage.spec_store import SpecStore
from storage.sql import Database
from storage.states import ChunkState, JobState


@pytest.fixture
def desk(tmp_path: Path, database: Database, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url)


def test_an_extended_job_keeps_its_takes_and_is_judged_again(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality={**AGAIN, "exact_duplicate": "reject"})
    work(desk, flat(3))
    row = desk.job(job_id)
    known = SpecStore(desk.store).load(job_id, spec_hash=row.spec_hash).spec
    longer = _longer(known)

    after = store_extension(row, longer, known=known, database=desk.database, store=desk.store)
    desk.wish(job_id)
    work(desk, flat(20))

    assert (row.images, after.images, after.judged) == (17, 25, False)
    done = desk.job(job_id)
    assert (done.state, done.images, done.rejected) == (JobState.DONE, 26, 2)
    assert set(rejected(desk, job_id)) == {3, 20}


def test_a_take_that_was_accepted_stays_when_an_extension_brings_the_same_picture_with_a_lower_number(
    desk: DispatcherDesk,
) -> None:
    job_id, take = desk.submit(quality={**AGAIN, "exact_duplicate": "reject"}), number_of(3, take=1)
    look = lambda number: {"pixel_sha256": "a" * 64} if number in (take, 20) else flat(3)(number)  # noqa: E731
    work(desk, look)
    before = rejected(desk, job_id)

    _extend(desk, job_id)
    desk.wish(job_id)
    work(desk, look)

    assert before == {3: "low_variance"}
    assert rejected(desk, job_id) == {**before, 20: "exact_duplicate of 3.1"}
    assert desk.job(job_id).state == JobState.DONE


def _extend(desk: DispatcherDesk, job_id: str) -> None:
    row = desk.job(job_id)
    known = SpecStore(desk.store).load(job_id, spec_hash=row.spec_hash).spec
    store_extension(row, _longer(known), known=known, database=desk.database, store=desk.store)


def _longer(known: Spec) -> Spec:
    return add_values(known, prompts=["c"], max_images=10**6)


def test_a_job_that_grew_while_it_was_judged_waits_for_its_images(
    desk: DispatcherDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = desk.submit(quality=REJECT)
    work(desk, flat(3), judge=False)
    real = verdicts

    def slow(*arguments: Any, **more: Any) -> Any:
        _extend(desk, job_id)
        return real(*arguments, **more)

    monkeypatch.setattr(judging, "verdicts", slow)
    assert desk.judge.judge() == 0
    monkeypatch.undo()
    work(desk, flat(3))

    assert (desk.job(job_id).state, desk.job(job_id).done) == (JobState.DONE, 24)
    assert not desk.chunks(ChunkState.READY)


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param({"accept": 6, "per": ["prompt"]}, id="by prompt"),
        pytest.param({"accept": 6, "per": []}, id="the whole job"),
        pytest.param({}, id="by place"),
    ],
)
def test_images_that_an_extension_brings_while_a_job_is_judged_are_judged_with_the_next_call(
    desk: DispatcherDesk, monkeypatch: pytest.MonkeyPatch, cells: dict[str, Any]
) -> None:
    job_id = desk.submit(quality={**AGAIN, **cells})
    work(desk, flat(), judge=False)
    real = verdicts

    def slow(*arguments: Any, **more: Any) -> Any:
        found = real(*arguments, **more)
        _extend(desk, job_id)
        work(desk, flat(20), judge=False)
        return found

    monkeypatch.setattr(judging, "verdicts", slow)
    during = desk.judge.judge(), desk.job(job_id).state
    monkeypatch.undo()
    work(desk, flat(20))

    assert during == (0, JobState.RUNNING)
    assert rejected(desk, job_id) == {20: "low_variance"}
    assert (desk.job(job_id).state, desk.job(job_id).short) == (JobState.DONE, 0)
