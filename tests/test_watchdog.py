"""When a node counts as hung, empty, silent or broken, and how long a step may take."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.child.life import Life, Parent
from worker.child.limits import COMPILE_S, FIRST_S, FLOOR_S, LOAD_S, STEP_S, StepClock
from worker.host.watchdog import Sight, judge

NODE = 100
LIFE = Life(
    child="c", pid=7, began=1, parent=NODE, boot="b", started=1000.0, broken=(), earlier=None, deadline=0.0,
    beat=1999.5, verdict="", cause=None, hand=None,
)  # fmt: skip


def look(life: dict[str, Any] | None = None, **more: Any) -> str | None:
    """What is to be done at second 2000 about a node whose child beat half a second ago, but for what is said."""
    child = Life(**{name: getattr(LIFE, name) for name in LIFE.__dataclass_fields__} | (life or {}))
    seen: dict[str, Any] = {
        "now": 2000.0, "node": NODE, "parent": Parent(pid=NODE, since=990.0), "life": child, "alive": True,
        "dead_since": None, "barren": False, "watched_since": 0.0,
    }  # fmt: skip
    finding = judge(Sight(**seen | more), scale=1.0)
    return finding.action if finding else None


@pytest.mark.parametrize(
    ("life", "seen", "action"),
    [
        pytest.param({}, {}, None, id="it beats"),
        pytest.param({"deadline": 2000.5}, {}, None, id="within its limit"),
        pytest.param({"deadline": 1999.5}, {}, "kill child", id="over its limit"),
        pytest.param({"beat": 1900.0}, {}, "restart", id="no beat, and nothing that takes long"),
        pytest.param({"beat": 1900.0, "deadline": 2500.0}, {}, None, id="no beat, but a model loads"),
        pytest.param({"beat": 1900.0, "deadline": 1999.0}, {}, "kill child", id="no beat, and over its limit"),
        pytest.param({"beat": 0.0, "started": 1800.0}, {}, None, id="still imports torch"),
        pytest.param({"beat": 0.0, "started": 1600.0}, {}, "restart", id="imports for ever"),
        pytest.param({}, {"alive": False}, None, id="just died"),
        pytest.param({}, {"alive": False, "dead_since": 1970.0}, None, id="died, and the next one starts slowly"),
        pytest.param({}, {"alive": False, "dead_since": 1870.0}, "restart", id="died, and the next one never comes"),
        pytest.param({}, {"alive": False, "dead_since": 1995.0, "barren": True}, None, id="died, nothing below yet"),
        pytest.param(
            {}, {"alive": False, "dead_since": 1985.0, "barren": True}, "restart", id="died, nothing below it"
        ),
        pytest.param({"parent": 99}, {}, "restart", id="its node never had a child"),
        pytest.param({"parent": 99}, {"parent": Parent(pid=NODE, since=1900.0)}, None, id="its node is young"),
        pytest.param({"parent": 99}, {"parent": Parent(pid=99, since=1.0)}, None, id="its node waits for the broker"),
        pytest.param({}, {"parent": None}, None, id="nobody said anything"),
        pytest.param({"broken": (1500.0, 1700.0, 1900.0)}, {}, "quarantine", id="broke three times"),
        pytest.param({"broken": (1500.0, 1700.0)}, {}, None, id="broke twice"),
        pytest.param({"broken": (1000.0, 1700.0, 1900.0)}, {}, None, id="broke three times, not in ten minutes"),
        pytest.param({"broken": (1500.0, 1700.0), "verdict": "device"}, {}, None, id="is about to exit"),
        pytest.param(
            {"broken": (1500.0, 1700.0), "verdict": "device"}, {"alive": False}, "quarantine", id="just exited"
        ),
        pytest.param(
            {"broken": (1500.0, 1700.0, 1900.0)}, {"watched_since": 1600.0}, None, id="broke before this farm-worker"
        ),
    ],
)
def test_a_node_is_judged_by_its_life_file(life: dict[str, Any], seen: dict[str, Any], action: str | None) -> None:
    assert look(life, **seen) == action


@given(scale=st.floats(0.001, 10), over=st.floats(0.01, 1e6))
def test_a_deadline_holds_at_every_scale_and_silence_never_counts_within_thirty_seconds(
    scale: float, over: float
) -> None:
    seen: dict[str, Any] = {"now": 2000.0, "node": NODE, "parent": Parent(pid=NODE, since=0.0)}
    seen |= {"dead_since": None, "barren": False}
    facts = {name: getattr(LIFE, name) for name in LIFE.__dataclass_fields__}
    late = Life(**facts | {"deadline": 2000.0 - over})
    quiet = Life(**facts | {"beat": 1971.0})

    hung = judge(Sight(**seen, alive=True, watched_since=0.0, life=late), scale=scale)
    silent = judge(Sight(**seen, alive=True, watched_since=0.0, life=quiet), scale=scale)

    assert hung is not None
    assert hung.action == "kill child"
    assert silent is None


def test_a_step_may_take_ten_times_the_median_and_never_less_than_fifteen_seconds() -> None:
    clock = StepClock()

    first = clock.begin("k", compiles=False, now=0.0)
    limits = [clock.step(last=step == 4, now=5.0 * step) for step in range(1, 5)]
    clock.end(now=21.0)
    again = clock.begin("k", compiles=False, now=100.0)

    assert first == FIRST_S
    assert limits == [FIRST_S, 50.0, 50.0, FIRST_S]  # the first gap, and what follows the last step, are unknown
    assert again == pytest.approx(10 * 21 / 4)
    assert StepClock().begin("k", compiles=True, now=0.0) == COMPILE_S
    assert StepClock().loading() == LOAD_S


def test_quick_steps_have_the_shortest_limit() -> None:
    clock = StepClock()
    clock.begin("k", compiles=False, now=0.0)

    limits = [clock.step(last=False, now=0.01 * step) for step in range(1, 9)]

    assert limits[1:] == [STEP_S] * 7


def test_waiting_for_the_store_is_no_step() -> None:
    clock = StepClock()
    clock.begin("k", compiles=False, now=0.0)
    clock.step(last=False, now=1.0)

    clock.shift(1000.0)
    limit = clock.step(last=False, now=1003.0)

    assert limit == 20.0  # ten times the two seconds that it took itself


def test_other_models_and_other_kinds_are_measured_anew() -> None:
    clock = StepClock()
    clock.begin("k", compiles=False, now=0.0)
    clock.step(last=True, now=0.1)
    clock.end(now=0.2)

    known = clock.begin("k", compiles=False, now=1.0)
    other = clock.begin("other", compiles=False, now=1.0)
    clock.reset()
    anew = clock.begin("k", compiles=False, now=1.0)

    assert (known, other, anew) == (STEP_S, FIRST_S, FIRST_S)


@given(
    scale=st.floats(0.001, 10),
    gaps=st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=30),
    kinds=st.lists(st.integers(0, 40), min_size=1, max_size=40),
)
def test_every_limit_is_above_the_floor_and_above_what_was_usual(
    scale: float, gaps: list[float], kinds: list[int]
) -> None:
    clock, now = StepClock(scale=scale), 0.0
    for kind in kinds:
        limits = [clock.begin(kind, compiles=False, now=now)]
        for step, gap in enumerate(gaps, start=1):
            now += gap
            limits.append(clock.step(last=step == len(gaps), now=now))
        clock.end(now=now)

        assert min(limits) >= FLOOR_S

    same = StepClock(scale=scale)
    same.begin("k", compiles=False, now=0.0)
    steady = [same.step(last=False, now=gaps[0] * step) for step in range(1, 9)]
    assert all(limit >= gaps[0] for limit in steady[1:])
