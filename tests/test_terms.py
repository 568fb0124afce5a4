"""Deadlines and budgets: how a user says them, and when a job stops itself. On a clock that the test moves."""

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.planning.stopping import Trend, why_stop, window
from dispatcher.planning.terms import Terms, hours, parse_terms, parse_when
from storage.errors import InvalidSpec
from storage.sql.jobs import JobRow
from storage.states import JobState, Priority, Reuse, Wish

NOW = 1_800_000_000.0
ROW = JobRow(
    id="j", name="n", user="u", source="", spec_hash="", state=JobState.RUNNING, wish=Wish.RUN, reason=None,
    positions=100, images=100, cursor=0, chunks=0, done=0, failed=0, linked=0, forgiven=0, priority=Priority.NORMAL,
    reuse=Reuse.OFF, deadline=None, max_device_seconds=None, device_seconds=0.0, retry=None, specs=[], models=None,
    seconds_per_image=None, created_at=0.0, started_at=None, issued_at=None, finished_at=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("+90m", NOW + 5400, id="minutes"),
        pytest.param("+2h", NOW + 7200, id="hours"),
        pytest.param("+1d", NOW + 86_400, id="a day"),
        pytest.param("2031-05-01T18:00+00:00", 1_935_424_800.0, id="a time with a zone"),
    ],
)
def test_a_deadline_is_a_time_or_a_while_from_now(text: str, moment: float) -> None:
    assert parse_when(text, now=NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "+", "+2w", "2h", "+-1h", "2020-01-01", "99999-01-01", "+9999999999d"])
def test_a_deadline_that_is_none_or_has_passed_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec, match="--deadline"):
        parse_when(text, now=NOW)


def test_terms_hold_only_what_was_said() -> None:
    assert Terms().said() == {}
    assert parse_terms(priority="background", max_device_hours=2, now=NOW).said() == {
        "priority": Priority.BACKGROUND, "max_device_seconds": 7200.0,
    }  # fmt: skip


STOPS = [
    pytest.param({}, None, None, id="nothing said"),
    pytest.param({"max_device_seconds": 10.0, "device_seconds": 9.9}, None, None, id="budget left"),
    pytest.param({"max_device_seconds": 10.0, "device_seconds": 10.0}, None, "budget spent", id="budget spent"),
    pytest.param({"deadline": NOW + 1}, None, None, id="deadline ahead"),
    pytest.param({"deadline": NOW}, None, "deadline passed", id="deadline passed"),
    pytest.param({"failed": 31}, Trend(31, 31, "x"), None, id="one failure less"),
    pytest.param({"failed": 32}, Trend(32, 35, "x: why"), "32 images failed, the last one: x: why", id="hopeless"),
    pytest.param({"failed": 32}, Trend(32, 36, "x"), None, id="one in nine is made"),
    pytest.param({"failed": 40, "forgiven": 10}, Trend(36, 36, "x"), None, id="forgiven ones"),
]


@pytest.mark.parametrize(("columns", "trend", "says"), STOPS)
def test_a_job_stops_itself_for_three_reasons(columns: dict[str, Any], trend: Trend | None, says: str | None) -> None:
    why = why_stop(replace(ROW, **columns), now=NOW, limit=32, trend=trend)

    assert (why is None) == (says is None)
    assert (says or "") in (why or "")
    assert why is None or "farm resume j" in why


def test_the_window_is_large_enough_to_be_hopeless() -> None:
    assert all(limit >= 0.9 * (window(limit) - 1) for limit in range(1, 200))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0.00"), (4.4, "0.00122"), (22.2, "0.00617"), (1800, "0.5"), (5400, "1.50")]
)
def test_hours_are_shown_so_that_small_ones_are_not_nothing(seconds: float, shown: str) -> None:
    assert hours(seconds) == shown
