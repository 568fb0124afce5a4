"""Jobs that are removed: rows at once, objects after a grace, and never what others link to."""

from pathlib import Path

import pytest
from sqlalchemy import select

from dispatcher.keeping.collecting.garbage import Wanted, collect, collect_removed
from dispatcher.keeping.collecting.removal import remove
from keeping_desk import KeepingDesk
from storage.errors import UserError
from storage.sql import Database, jobs
from storage.sql.tables import attempt, chunk, event, image, job_plan
from storage.states import Reuse, Wish
from storage.wire.notes import removed_key

ALL_OLD = Wanted(grace_s=-3600)


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> KeepingDesk:
    return KeepingDesk(database, tmp_path)


def test_a_removed_job_goes_a_grace_later_but_for_what_others_link_to(desk: KeepingDesk) -> None:
    first = desk.rendered()
    second = desk.submit(reuse=Reuse.SAME_PLAN, axes={"prompt": ["b"], "seed": {"count": 8}})
    desk.work(second, images=16)
    desk.notes.write()
    desk.age()

    remove(desk.database, desk.store, desk.job(first))
    at_once = collect(desk.database, desk.store, wanted=Wanted())
    desk.age(removed_key(first))
    later = collect(desk.database, desk.store, wanted=Wanted())

    linked = {row.key for row in desk.images(second).values()}
    assert (at_once.jobs.objects, at_once.unknown.objects) == (0, 0)
    assert later.jobs.objects > 8
    assert desk.stored(f"jobs/{first}/") == linked | {removed_key(first)}
    with desk.database.read() as connection:
        for table in (image, chunk, attempt, event, job_plan):
            assert connection.execute(select(table.c.job).where(table.c.job == first)).all() == []


def test_once_the_last_link_is_gone_nothing_of_a_removed_job_is_left(desk: KeepingDesk) -> None:
    first = desk.rendered()
    second = desk.submit(reuse=Reuse.SAME_PLAN)
    desk.work(second, images=16)
    remove(desk.database, desk.store, desk.job(first))
    collect(desk.database, desk.store, wanted=ALL_OLD)
    assert len(desk.stored(f"jobs/{first}/")) == 17

    remove(desk.database, desk.store, desk.job(second))
    collect(desk.database, desk.store, wanted=ALL_OLD)

    assert desk.stored("jobs/") == set()


def test_a_removed_job_can_go_at_once(desk: KeepingDesk) -> None:
    first = desk.rendered()
    second = desk.submit(reuse=Reuse.SAME_PLAN, axes={"prompt": ["b"], "seed": {"count": 8}})
    desk.work(second, images=16)
    remove(desk.database, desk.store, desk.job(first))

    found = collect_removed(desk.database, desk.store, first)

    assert found.jobs.objects > 8
    assert desk.stored(f"jobs/{first}/") == {row.key for row in desk.images(second).values()} | {removed_key(first)}


def test_an_open_job_is_not_removed(desk: KeepingDesk) -> None:
    job_id = desk.submit()

    with pytest.raises(UserError, match=r"is running: must have ended; 'farm cancel"):
        remove(desk.database, desk.store, desk.job(job_id))

    assert desk.job(job_id).wish == Wish.RUN
    assert removed_key(job_id) not in desk.stored()


def test_the_same_file_makes_another_job_once_its_job_is_being_removed(desk: KeepingDesk) -> None:
    job_id = desk.rendered()
    row = desk.job(job_id)
    with desk.database.write() as connection:
        jobs.wish(connection, job_id, Wish.DROP)

    with desk.database.read() as connection:
        found = jobs.same_spec(connection, row.spec_hash, user=row.user)

    assert found is None
