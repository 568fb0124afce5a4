"""The gate of a store that is away."""

from worker.runs.storing.spool.gate import FIRST_REST_S, SHORT_S, Gate
from worker_desk import wait_for


def test_a_gate_lets_one_in_while_the_store_is_away() -> None:
    gate = Gate(scale=10**6)

    assert gate.ask() == SHORT_S
    assert gate.refused(OSError("away"))
    assert gate.ask() is None
    assert not gate.refused(OSError("still away"))
    assert gate.answered()
    assert gate.ask() == SHORT_S


def test_a_gate_asks_again_after_a_rest() -> None:
    gate = Gate(scale=0.01 / FIRST_REST_S)
    gate.refused(OSError("away"))

    first = wait_for(lambda: gate.ask() is not None, what="a try", limit_s=5)

    assert first
    assert gate.ask() is None
