"""An image does not depend on its company: alone, in any slot, beside anything, by any worker, the same pixels."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sameness_worker import PLAN, PROMPTS, Bench, whole_table
from scheduler_bench import MODELS
from storage.spec.schedulers import SCHEDULERS

# diffusers hands numpy tensors in a way that numpy deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def folders(tiny_models: Callable[[str], Path]) -> dict[str, Path]:
    return {training: tiny_models(name) for training, name in MODELS.items()}


@pytest.fixture(scope="module")
def bench(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("sameness"), folders)


@pytest.fixture(scope="module")
def alone(bench: Bench) -> Callable[[str], list[str]]:
    return cache(lambda scheduler: bench.hashes([bench.recipe(scheduler, 11)] * PLAN.batch))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_an_image_is_the_same_alone_and_in_every_slot(
    bench: Bench, alone: Callable[[str], list[str]], scheduler: str
) -> None:
    mine = bench.recipe(scheduler, 11)
    others = [bench.recipe(scheduler, seed, prompt) for seed, prompt in ((1, PROMPTS[1]), (2**62, PROMPTS[2]))]

    by_itself, first = alone(scheduler), bench.hashes([mine, *others])
    last = bench.hashes([*others[::-1], mine])

    assert {*by_itself, first[0], last[-1]} == {by_itself[0]}
    assert first[1:] == last[-2::-1]
    assert len(set(first)) == PLAN.batch


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    scheduler=st.sampled_from(sorted(SCHEDULERS)),
    seed=st.integers(0, 2**63 - 1),
    slot=st.integers(0, PLAN.batch - 1),
    company=st.lists(
        st.tuples(st.integers(0, 2**63 - 1), st.sampled_from(PROMPTS)), min_size=PLAN.batch - 1, max_size=PLAN.batch - 1
    ),
)
def test_no_seed_slot_or_company_changes_an_image(
    bench: Bench, scheduler: str, seed: int, slot: int, company: list[tuple[int, str]]
) -> None:
    mine = bench.recipe(scheduler, seed)
    others = [bench.recipe(scheduler, each, prompt) for each, prompt in company]

    alone = bench.hashes([mine])[0]

    assert bench.hashes([*others[:slot], mine, *others[slot:]])[slot] == alone


def test_three_workers_draw_what_one_draws(
    alone: Callable[[str], list[str]], folders: dict[str, Path], tmp_path: Path
) -> None:
    mine = {scheduler: alone(scheduler)[0] for scheduler in SCHEDULERS}

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as workers:
        drawn = [workers.submit(whole_table, tmp_path / str(slot), folders, slot) for slot in (1, 2)]
        by_others = [each.result() for each in drawn]

    assert by_others == [mine, mine]
