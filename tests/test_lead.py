"""One dispatcher leads; the next one takes over as soon as it is safe, and the old one can change nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection

from dispatcher.service.lead import TAKEOVER_S, Leadership
from storage.sql import Database, leading
from storage.sql.leading import NotLeading


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_second_dispatcher_waits_while_the_first_one_moves(database: Database) -> None:
    clock = Clock()
    first, second = (Leadership(database, clock=clock) for _ in range(2))

    led = [(first.seek(), second.seek()) for clock.now in (0.0, TAKEOVER_S, 2 * TAKEOVER_S, 3 * TAKEOVER_S)]

    assert led == [(True, False)] * 4


def test_a_leader_that_stands_still_is_replaced_and_fenced(database: Database) -> None:
    clock = Clock()
    first, second = (Leadership(database, clock=clock) for _ in range(2))
    first.seek()
    assert not second.seek()
    clock.now = TAKEOVER_S + 1

    assert second.seek()

    with pytest.raises(NotLeading), database.write() as connection:
        first.fence(connection)
    assert not first.leads
    assert not first.seek()


def test_a_lead_that_was_given_up_is_free_at_once(database: Database) -> None:
    first, second = Leadership(database), Leadership(database)
    first.seek()
    first.give_up()

    assert second.seek()

    with pytest.raises(NotLeading), database.write() as connection:
        first.fence(connection)


def test_a_dead_leader_of_this_host_is_replaced_at_once(database: Database) -> None:
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    first = Leadership(database)
    first._holder = f"{first._host}:{child.pid}:x"
    first.seek()

    assert Leadership(database).seek()


def test_the_wait_of_a_standby_follows_the_farms_scale(database: Database) -> None:
    clock = Clock()
    first, second = (Leadership(database, clock=clock, takeover_s=TAKEOVER_S * 0.1) for _ in range(2))
    first.seek()
    assert not second.seek()
    clock.now = TAKEOVER_S * 0.1 + 0.01

    assert second.seek()


def test_a_lead_that_several_threads_find_lost_is_lost_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lead, fence, late = Leadership(database), leading.fence, threading.Barrier(2)
    lead.seek()

    def meet(connection: Connection, epoch: int) -> None:
        late.wait(timeout=30)  # both threads have read the epoch
        fence(connection, epoch + 7)

    def work() -> None:
        with pytest.raises(NotLeading), database.read() as connection:
            lead.fence(connection)

    monkeypatch.setattr(leading, "fence", meet)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: work(), range(2)))

    assert [record.message for record in caplog.records if record.name.startswith("dispatcher")] == ["lead lost"]
    assert not lead.leads


def test_a_thread_that_comes_late_does_not_end_the_next_lead(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead, fence = Leadership(database), leading.fence
    lead.seek()

    def late(connection: Connection, epoch: int) -> None:
        monkeypatch.setattr(leading, "fence", fence)
        lead.give_up()
        assert lead.seek(), "meanwhile another thread took it anew"
        fence(connection, epoch)

    monkeypatch.setattr(leading, "fence", late)
    with pytest.raises(NotLeading), database.read() as connection:
        lead.fence(connection)

    assert lead.leads
