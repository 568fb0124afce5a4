"""The ladder of plans: which one a device that ran out of memory may render by."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.planning.ladder import foot, holds, ladder, plan_for, smaller, words
from storage.spec.plan import Plan

_pins = st.sampled_from([{}, {"batch": 8}, {"vae_tiling": False}, {"vae_slicing": True, "vae_tiling": True}])


def plan(batch: int = 8, **changes: Any) -> Plan:
    plain = {"device_type": "cuda", "dtype": "float16", "threads": 1, "tf32": False}
    return Plan.model_validate({**plain, "batch": batch, **changes})


_plans = st.builds(plan, st.integers(1, 33), vae_slicing=st.booleans(), vae_tiling=st.booleans())


def test_the_batch_is_halved_down_to_one_before_the_vae_is_sliced_and_tiled() -> None:
    rungs = list(ladder(plan(8), {}))

    assert [rung.batch for rung in rungs] == [8, 4, 2, 1, 1]
    assert [rung.vae_tiling and rung.vae_slicing for rung in rungs] == [False] * 4 + [True]


def test_a_vae_that_the_job_pins_stays_as_it_is() -> None:
    last = foot(plan(2), may_shrink=True, pins={"vae_tiling": False})

    assert (last.batch, last.vae_slicing, last.vae_tiling) == (1, True, False)
    assert smaller(plan(1), {"vae_slicing": False, "vae_tiling": False}) is None


@given(base=_plans, pins=_pins)
def test_every_rung_is_smaller_and_the_ladder_ends(base: Plan, pins: dict[str, Any]) -> None:
    rungs = list(ladder(base, pins))

    assert len(rungs) <= 8
    for upper, lower in pairwise(rungs):
        assert not holds(upper, [lower])
        assert holds(lower, [upper])


@given(base=_plans, limits=st.lists(_plans, max_size=4), pins=_pins)
def test_the_plan_is_the_first_rung_that_nothing_speaks_against(
    base: Plan, limits: list[Plan], pins: dict[str, Any]
) -> None:
    chosen = plan_for(base, limits, may_shrink=True, pins=pins)

    rungs = list(ladder(base, pins))
    before = rungs if chosen is None else rungs[: rungs.index(chosen)]
    assert not any(holds(rung, limits) for rung in before)
    assert chosen is None or holds(chosen, limits)


@given(base=_plans, limits=st.lists(_plans, max_size=4))
def test_without_leave_only_the_base_is_taken(base: Plan, limits: list[Plan]) -> None:
    chosen = plan_for(base, limits, may_shrink=False, pins={})

    assert chosen == (base if holds(base, limits) else None)


@given(base=_plans)
def test_whoever_fails_on_every_rung_ends_at_the_foot(base: Plan) -> None:
    limits: list[Plan] = []
    while (chosen := plan_for(base, limits, may_shrink=True, pins={})) is not None:
        limits.append(chosen)

    assert limits[-1] == foot(base, may_shrink=True, pins={})


@pytest.mark.parametrize(
    ("asked", "limit", "fits"),
    [
        pytest.param(plan(4), plan(4), False, id="the same"),
        pytest.param(plan(5), plan(4), False, id="a larger batch"),
        pytest.param(plan(3), plan(4), True, id="a smaller batch"),
        pytest.param(plan(4, vae_tiling=True), plan(4), True, id="saves more"),
        pytest.param(plan(4), plan(4, vae_tiling=True), False, id="saves less"),
        pytest.param(plan(4, threads=8), plan(4), False, id="threads save nothing"),
        pytest.param(plan(4, offload="model"), plan(4), True, id="another offload is another matter"),
        pytest.param(plan(4, dtype="float32"), plan(4), True, id="nothing is known of another dtype"),
    ],
)
def test_a_limit_speaks_against_plans_that_need_no_less(asked: Plan, limit: Plan, fits: bool) -> None:
    assert holds(asked, [limit]) == fits


def test_a_plan_in_words_is_what_needs_memory() -> None:
    small = plan(1, vae_slicing=True, vae_tiling=True, offload="model")

    assert words(plan(8)) == "batch 8, float16"
    assert words(small) == "batch 1, float16, vae_slicing, vae_tiling, offload model"
