"""Takes and verdicts where a database is lost, and where rows are held against the store."""

from pathlib import Path
from typing import Any

import pytest

from dispatcher.keeping.checking.check import Checker
from dispatcher.keeping.checking.repair import Repairer
from dispatcher.keeping.rebuilding.rebuild import rebuild
from dispatcher.quality.judging import Judge
from keeping_desk import KeepingDesk
from storage.spec.number import number_of
from storage.spec_store import SpecStore
from storage.sql import Database, jobs
from storage.states import JobState

RULES = {"low_variance": "reject", "on_reject": "next_seed", "tries": 4}
FLAT = (3, number_of(3, take=1))


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> KeepingDesk:
    return KeepingDesk(database, tmp_path)


def judged(desk: KeepingDesk) -> int:
    return Judge(desk.database, SpecStore(desk.store), fence=desk.lead.fence, chunk_s=60).judge()


def finish(desk: KeepingDesk, job_id: str, *, rounds: int = 10) -> None:
    """Render all there is, with two flat pictures, and judge."""
    for _ in range(rounds):
        while (chunk := desk.cut(job_id)) is not None:
            made: list[dict[str, Any]] = desk.manifest(chunk)["images"]
            desk.runs -= 1
            desk.render(chunk, images=[{**one, "flags": ["low_variance"] * (one["number"] in FLAT)} for one in made])
        if not judged(desk):
            return
    raise AssertionError("the rounds never end")


def test_a_lost_database_comes_back_with_its_takes_and_is_judged_again(desk: KeepingDesk, tmp_path: Path) -> None:
    job_id = desk.submit(quality=RULES)
    finish(desk, job_id)
    before, row = desk.images(job_id), desk.job(job_id)
    desk.notes.write()

    new = Database(f"sqlite:///{tmp_path / 'new.sqlite'}")
    new.prepare()
    rebuild(new, desk.store, user="me")
    after = KeepingDesk(new, tmp_path, store=desk.store)
    state, images = after.job(job_id).state, after.job(job_id).images
    assert judged(after) == 1

    assert (state, images) == (JobState.RUNNING, row.images)
    again = after.job(job_id)
    assert (again.state, again.judged, again.rejected, again.images) == (JobState.DONE, True, 2, 18)
    assert {number: one.rejected for number, one in after.images(job_id).items()} == {
        number: one.rejected for number, one in before.items()
    }
    assert not list(Checker(new, after.store).check(job_id))
    new.close()


def test_a_take_under_way_when_the_database_was_lost_is_decided_upon_once_more(
    desk: KeepingDesk, tmp_path: Path
) -> None:
    job_id = desk.submit(quality=RULES)
    while (chunk := desk.cut(job_id)) is not None:
        made = desk.manifest(chunk)["images"]
        desk.runs -= 1
        desk.render(chunk, images=[{**one, "flags": ["low_variance"] * (one["number"] == 3)} for one in made])
    assert judged(desk) == 1
    desk.notes.write()

    new = Database(f"sqlite:///{tmp_path / 'new.sqlite'}")
    new.prepare()
    rebuild(new, desk.store, user="me")
    after = KeepingDesk(new, tmp_path, store=desk.store)
    finish(after, job_id)

    assert sorted(after.images(job_id)) == [*range(16), number_of(3, take=1), number_of(3, take=2)]
    assert after.job(job_id).state == JobState.DONE
    new.close()


def test_a_check_finds_nothing_wrong_with_takes_and_counts_rejected_images_again(desk: KeepingDesk) -> None:
    job_id = desk.submit(quality=RULES)
    finish(desk, job_id)
    desk.notes.write()
    sound = list(Checker(desk.database, desk.store).check(job_id))
    with desk.database.write() as connection:
        jobs.change(connection, job_id, rejected=7)

    desk.lead.give_up()
    (problem,) = Checker(desk.database, desk.store, repairer=Repairer(desk.database, desk.store)).check(job_id)

    assert sound == []
    assert "7 rejected; its rows are 2" in problem.detail
    assert desk.job(job_id).rejected == 2
