"""What two jobs say differently is told truly, however long their axes are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dispatcher.auditing import differing
from keeping_desk import KeepingDesk
from typed import Ended, typed

MANY = 200_001
Call = Callable[..., Ended]


@pytest.fixture
def desk(tmp_path: Path) -> KeepingDesk:
    return KeepingDesk.at_home(tmp_path / "home")


@pytest.fixture
def call(desk: KeepingDesk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("FARM_HOME", str(desk.folder))
    return lambda *arguments: typed(capsys, *arguments)


def keys(call: Call, one: str, other: str) -> Any:
    return json.loads(call("diff", one, other, "--json").stdout)["keys"]


def test_a_value_added_at_either_end_of_a_long_axis_is_the_only_one_that_is_told(desk: KeepingDesk, call: Call) -> None:
    lines = [f"p{place}" for place in range(MANY)]
    plain, before, after = (
        desk.submit(axes={"prompt": prompts}) for prompts in (lines, ["new", *lines], [*lines, "new"])
    )
    nothing, new = {"count": 0, "examples": []}, {"count": 1, "examples": ["new"]}

    at_the_top, at_the_end, elsewhere = keys(call, plain, before), keys(call, plain, after), keys(call, before, after)

    assert at_the_top == at_the_end == {"prompt": {"a": nothing, "b": new}}
    assert elsewhere == {}


def test_examples_are_the_first_in_their_order_and_each_value_counts_once(desk: KeepingDesk, call: Call) -> None:
    one = desk.submit(axes={"prompt": ["z", "b", "z", "a", "y", "x", "w", "v", "b"]})
    other = desk.submit(axes={"prompt": ["b", "c"]})

    found = keys(call, one, other)

    assert found["prompt"] == {
        "a": {"count": 6, "examples": ["z", "a", "y", "x", "w"]}, "b": {"count": 1, "examples": ["c"]},
    }  # fmt: skip


def test_what_is_too_long_to_compare_is_said_and_not_guessed_at(
    desk: KeepingDesk, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differing, "MAX_VALUES", 3)
    one = desk.submit(axes={"prompt": ["a", "b"], "seed": {"count": 4}})
    other = desk.submit(axes={"prompt": ["a", "c"], "seed": {"count": 5}})

    ended, scripted, same = call("diff", one, other), call("diff", one, other, "--json"), call("diff", one, one)

    assert "prompt:\n  only in A: 'b'\n  only in B: 'c'\n" in ended.stdout
    assert "seed: 4 values in A, 5 in B; so many are not compared one by one\n" in ended.stdout
    assert json.loads(scripted.stdout)["uncompared"] == {"seed": {"a": 4, "b": 5}}
    assert "seed" not in same.stdout
