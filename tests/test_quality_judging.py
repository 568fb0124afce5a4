"""Complete jobs are judged before they are done; rejected images get their next takes until nothing is lacking."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from desk import DispatcherDesk, failed
from dispatcher.quality import judging
from judging_desk import AGAIN, FLAT, REJECT, flat, rejected, work
from storage.spec.number import number_of
from storage.spec_store import SpecStore
from storage.sql import Database, jobs, quality
from storage.sql.leading import NotLeading
from storage.sql.tables import image
from storage.states import JobState, Reuse, Wish


@pytest.fixture
def desk(tmp_path: Path, database: Database, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url)


def test_a_job_without_rules_is_done_with_its_last_image(desk: DispatcherDesk) -> None:
    job_id = desk.submit()

    work(desk, flat(), judge=False)

    assert desk.job(job_id).state == JobState.DONE


def test_scores_alone_do_not_keep_a_job_from_its_end(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality={"on_reject": "keep"})

    work(desk, flat(), judge=False)

    assert desk.job(job_id).state == JobState.DONE


def test_a_job_with_rules_is_done_when_it_is_judged(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality={**REJECT, "exact_duplicate": "reject"})

    look: dict[int, dict[str, Any]] = {3: FLAT, 5: {"pixel_sha256": "a" * 64}, 9: {"pixel_sha256": "a" * 64}}
    work(desk, lambda number: look.get(number, {}), judge=False)
    before = desk.job(job_id)
    assert desk.judge.judge() == 1

    row = desk.job(job_id)
    assert (before.state, before.judged) == (JobState.RUNNING, False)
    assert (row.state, row.judged, row.rejected, row.done) == (JobState.DONE, True, 2, 16)
    assert rejected(desk, job_id) == {3: "low_variance", 9: "exact_duplicate of 5"}
    assert desk.events(job_id)["judged"] == "2 of 16 images rejected: low_variance 1, exact_duplicate 1"
    assert desk.judge.judge() == 0


def test_rejected_images_get_their_next_takes_until_one_is_accepted(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality=AGAIN)

    work(desk, flat(3, number_of(3, take=1), 7))

    row, made = desk.job(job_id), desk.images(job_id)
    takes = [number_of(3, take=1), number_of(7, take=1), number_of(3, take=2)]
    assert (row.state, row.images, row.done, row.rejected, row.short) == (JobState.DONE, 19, 19, 3, 0)
    assert sorted(made) == [*range(16), *takes]
    assert len({made[number].seed for number in (3, *takes)}) == 4
    assert {made[number].prompt for number in (3, takes[0], takes[2])} == {made[3].prompt}
    assert {made[number].plan["batch"] for number in made} == {4}


def test_a_place_is_left_after_its_tries_and_that_is_told(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality={**AGAIN, "tries": 3})

    work(desk, lambda number: FLAT if number % 10**12 == 2 else {})

    row = desk.job(job_id)
    assert (row.state, row.images, row.rejected, row.short) == (JobState.DONE, 18, 3, 1)
    assert desk.events(job_id)["short"] == "1 place without an accepted image (rejected 3 times, or failed)"


def test_a_cell_gets_takes_until_it_has_what_accept_says(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality={**AGAIN, "accept": 6, "per": ["prompt"]})

    work(desk, flat(0, 1, 2, 3, 8, number_of(0, take=1)))

    made = desk.images(job_id)
    takes = sorted(number for number in made if number >= 10**12)
    assert takes == [number_of(place, take=1) for place in (0, 1, 2)]  # of 8 images of "a" four are left, of "b" seven
    assert desk.job(job_id).short == 0


def test_a_cell_that_stays_short_is_told(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality={**AGAIN, "accept": 8, "per": ["prompt"], "tries": 2})

    work(desk, lambda number: FLAT if number % 10**12 < 2 else {})

    assert desk.job(job_id).short == 1
    assert desk.events(job_id)["short"] == "1 cell short of accept = 8 per prompt; no take of theirs is left to try"


def test_failed_images_get_no_takes_and_may_be_tried_again_after_judging(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started(quality={**AGAIN, "exact_duplicate": "reject"})
    manifest = desk.manifest(chunk, failed=[failed(next(iter(chunk.numbers)))])
    for made in manifest["images"]:
        made["pixel_sha256"] = f"{made['number']:064x}"
    assert desk.recorder.record(desk.put(manifest))
    work(desk, lambda number: {"pixel_sha256": "b" * 64} if number == 9 else {})
    first = desk.job(job_id)

    desk.wish(job_id, retry=[])
    again = desk.job(job_id)
    work(desk, lambda number: {"pixel_sha256": "b" * 64} if number == 0 else {})

    assert (first.state, first.failed, first.images) == (JobState.DONE, 1, 16)
    assert (again.state, again.judged) == (JobState.RUNNING, False)
    assert rejected(desk, job_id) == {9: "exact_duplicate of 0"}
    assert desk.job(job_id).images == 17
    assert desk.job(job_id).state == JobState.DONE


def test_a_paused_job_is_judged_and_its_takes_wait(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality=AGAIN)
    work(desk, flat(3), judge=False)
    desk.wish(job_id, Wish.PAUSE)

    assert desk.judge.judge() == 1

    assert (desk.job(job_id).state, desk.job(job_id).images) == (JobState.PAUSED, 17)
    assert desk.feed() == 0
    desk.wish(job_id, Wish.RESUME)
    work(desk, flat())
    assert desk.job(job_id).state == JobState.DONE


def test_a_cancelled_job_is_not_judged_any_more(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality=AGAIN)
    work(desk, flat(3), judge=False)
    with desk.database.write() as connection:
        jobs.wish(connection, job_id, Wish.CANCEL)

    judged = desk.judge.judge()
    desk.wishes.fulfil()

    assert judged == 0
    assert (desk.job(job_id).state, desk.judge.judge()) == (JobState.CANCELLED, 0)


def test_a_dropped_job_forgets_its_verdicts_too(desk: DispatcherDesk) -> None:
    other = desk.submit(quality=AGAIN)
    work(desk, flat(3), judge=False)
    desk.judge.judge()

    desk.wish(other, Wish.DROP)
    while desk.chunks():
        desk.take_back()
    desk.wish(other, Wish.DROP)

    row = desk.job(other)
    assert (row.state, row.done, row.failed, row.rejected) == (JobState.CANCELLED, 0, 0, 0)


def test_takes_that_exist_already_are_linked(desk: DispatcherDesk) -> None:
    first = desk.submit(quality=AGAIN)
    work(desk, flat(3))

    second = desk.submit(quality=AGAIN)
    desk.wish(second, reuse=Reuse.SAME_PLAN)
    work(desk, flat())

    made, row = desk.images(second), desk.job(second)
    assert sorted(made) == sorted(desk.images(first))
    assert all(one.linked_job == first for one in made.values())
    assert (row.state, row.linked, row.rejected) == (JobState.DONE, 17, 1)


def test_verdicts_that_hold_no_more_are_taken_back(desk: DispatcherDesk) -> None:
    job_id = desk.submit(quality=REJECT)
    work(desk, flat(3), judge=False)
    with desk.database.write() as connection:
        connection.execute(update(image).where(image.c.number == 5).values(rejected="of old"))

    desk.judge.judge()

    assert rejected(desk, job_id) == {3: "low_variance"}


@pytest.mark.parametrize("broken_at", range(1, 9))
def test_a_crash_between_any_two_steps_does_no_harm(
    desk: DispatcherDesk, monkeypatch: pytest.MonkeyPatch, broken_at: int
) -> None:
    look = lambda number: FLAT if number % 3 == 0 else {"pixel_sha256": "c" * 64} if number % 5 == 0 else {}  # noqa: E731
    rules = {**AGAIN, "exact_duplicate": "reject", "tries": 3}
    whole, broken = desk.submit(quality=rules), desk.submit(quality=rules, name="broken")
    monkeypatch.setattr(judging, "PAGE", 5)
    monkeypatch.setattr(judging, "BATCH", 2)
    work(desk, look, judge=False)
    transactions = 0

    def fence(connection: Any) -> None:
        nonlocal transactions
        desk.lead.fence(connection)
        transactions += 1
        if transactions == broken_at:
            raise NotLeading(0)

    dying = judging.Judge(desk.database, SpecStore(desk.store), fence=fence, chunk_s=60)
    monkeypatch.setattr(quality, "waiting", _only(broken, quality.waiting))
    with contextlib.suppress(NotLeading):
        for _ in range(9):
            dying.judge()
            work(desk, look, judge=False)
    assert transactions == broken_at
    monkeypatch.undo()
    work(desk, look)

    assert rejected(desk, broken) == rejected(desk, whole)
    assert sorted(desk.images(broken)) == sorted(desk.images(whole))
    rows = [desk.job(job_id) for job_id in (whole, broken)]
    assert rows[0].state == JobState.DONE
    assert len({(row.state, row.judged, row.images, row.done, row.rejected, row.short) for row in rows}) == 1


def _only(job_id: str, ask: Callable[..., list[str]]) -> Callable[..., list[str]]:
    return lambda connection: [one for one in ask(connection) if one == job_id]
