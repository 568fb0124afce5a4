"""Which plan the farm chooses where a job pins nothing."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.spec.plan import choose_plan


@pytest.mark.parametrize(
    ("company", "batch"),
    [
        pytest.param(1, 1, id="alone"),
        pytest.param(32, 32, id="just one batch"),
        pytest.param(40, 20, id="two twenties, not 32 and 8"),
        pytest.param(10**6, 32, id="many"),
    ],
)
def test_images_that_may_share_a_call_are_split_evenly(company: int, batch: int) -> None:
    plan = choose_plan({}, device_type="cpu", threads=2, size=(64, 64), company=company)

    assert plan.batch == batch


@given(company=st.integers(1, 10**6), side=st.sampled_from([64, 512, 1024]), device=st.sampled_from(["cpu", "cuda"]))
def test_padding_is_less_than_one_image_a_batch(company: int, side: int, device: str) -> None:
    plan = choose_plan({}, device_type=device, threads=1, size=(side, side), company=company)

    batches = ceil(company / plan.batch)
    assert batches * plan.batch - company < batches


@given(
    pins=st.fixed_dictionaries({}, optional={"batch": st.integers(1, 64), "threads": st.integers(1, 64)}),
    threads=st.integers(1, 128), side=st.sampled_from([64, 128, 256, 512]), company=st.integers(1, 10**6),
)  # fmt: skip
def test_on_a_cpu_the_place_in_a_batch_counts_only_where_a_user_pins_both(
    pins: dict[str, int], threads: int, side: int, company: int
) -> None:
    plan = choose_plan(pins, device_type="cpu", threads=threads, size=(side, side), company=company)

    assert not plan.cuts_pictures or len(pins) == 2
    assert plan.threads == threads or plan.batch > 1 or "threads" in pins
    assert pins.items() <= plan.model_dump().items()


def test_pins_win() -> None:
    plan = choose_plan(
        {"batch": 3, "dtype": "bfloat16", "threads": 7}, device_type="cpu", threads=2, size=(64, 64), company=100
    )

    assert (plan.batch, plan.dtype, plan.threads) == (3, "bfloat16", 7)
