"""What SQL remembers of workers: limits, rests and wishes, on both databases."""

import pytest

from storage.spec.plan import Plan
from storage.sql import Database, workers
from storage.sql.lookups import plan_id

PLAN = Plan(device_type="cuda", dtype="float16", batch=8, threads=1, tf32=False)


def test_a_limit_is_kept_once_with_what_was_said_last(database: Database) -> None:
    for moment, detail in ((1.0, "first"), (2.0, "again")):
        with database.write() as connection:
            workers.note_limit(
                connection, device="T4 15 GiB", plan_id=plan_id(connection, PLAN), model="sha256:a", size=(512, 768),
                detail=detail, now=moment,
            )  # fmt: skip

    with database.read() as connection:
        (found,) = workers.limits(connection)
    assert (found.device, found.plan, found.model) == ("T4 15 GiB", PLAN, "sha256:a")
    assert (found.size, found.detail) == ((512, 768), "again")


def test_the_third_failure_in_a_row_begins_a_rest_that_grows_and_is_forgiven(database: Database) -> None:
    with database.write() as connection:
        ends = [workers.note_failure(connection, "n1", "m", 1000.0, 0.5) for _ in range(4)]
        workers.note_failure(connection, "n1", "other", 1000.0, 0.5)
        at_once, later = workers.rests(connection, 1001.0), workers.rests(connection, 1061.0)
        workers.note_success(connection, "n1", "m")
        forgiven = workers.rests(connection, 1001.0)

    assert ends == [None, None, 1030.0, 1060.0]
    assert at_once == {("n1", "m"): workers.Rest(failures=4, until=1060.0)}
    assert later == forgiven == {}


def test_one_success_in_between_starts_the_count_anew(database: Database) -> None:
    with database.write() as connection:
        for _ in range(2):
            workers.note_failure(connection, "n1", "m", 1.0, 1.0)
        workers.note_success(connection, "n1", "m")

        assert [workers.note_failure(connection, "n1", "m", 1.0, 1.0) for _ in range(3)] == [None, None, 61.0]


def test_a_wish_is_overwritten_and_taken_back(database: Database) -> None:
    with database.write() as connection:
        workers.wish_worker(connection, "n1", "drain", 1.0)
        workers.wish_worker(connection, "n1", "stop", 2.0)
        workers.wish_worker(connection, "n2", "drain", 2.0)
        workers.wish_worker(connection, "n2", None, 3.0)

        assert workers.wishes(connection) == {"n1": "stop"}
        assert workers.known_nodes(connection) == {"n1"}


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0), (2, 0), (3, 60), (4, 120), (7, 900), (10**9, 900)])
def test_a_rest_is_a_minute_at_first_and_a_quarter_of_an_hour_at_most(failures: int, seconds: float) -> None:
    assert workers.rest_length(failures) == seconds
