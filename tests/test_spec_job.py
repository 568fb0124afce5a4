# a table of cases reads best with one case a line
"""A job is its product: counted, indexed and walked in render order without being listed."""

import itertools
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec_files import FACTS, frozen, job_files
from storage.spec import Job, JobFile, Numbers, Place, Spec, batch_key, canonical, digest, freeze
from storage.spec.dimension import Derived
from storage.spec.fields import FIELDS, check_value
from storage.spec.schedulers import SCHEDULERS

AT_ONCE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
MODELS = dict.fromkeys(("./m", "owner/one", "owner/two"), FACTS)


def the_job(folder: Path, entries: dict[str, Any]) -> Job:
    """The frozen job, or an empty product where exclusion leaves nothing."""
    (folder / "m").mkdir(exist_ok=True)
    file = JobFile.model_validate({key: value for key, value in entries.items() if key != "exclude"})
    spec = freeze(file, base=folder, name="job", max_images=10**9)
    clauses = [{key: [_stored(key, value)] for key, value in clause.items()} for clause in entries.get("exclude", [])]
    return Job(replace(spec, exclude=tuple(clauses)))


def _stored(key: str, value: Any) -> Any:
    return check_value(key, value, path=key)


@AT_ONCE
@given(entries=job_files())
def test_number_i_is_the_ith_of_the_product_in_declared_order(tmp_path: Path, entries: dict[str, Any]) -> None:
    job = the_job(tmp_path, entries)

    product = list(itertools.product(*(range(len(dimension)) for dimension in job.spec.dimensions)))

    assert len(job) == len(product)
    for number, digits in enumerate(product):
        place = job[number]
        said = [dimension.at(digit).values for dimension, digit in zip(job.spec.dimensions, digits, strict=True)]
        expected = {key: value for values in said for key, value in values.items()}
        excluded = any(all(expected[key] in clause[key] for key in clause) for clause in job.spec.exclude)
        assert (place is None) == excluded
        if place is not None:
            derived = {"seed"} if any(isinstance(axis, Derived) for axis in job.spec.dimensions) else set()
            assert {key: place.values[key] for key in expected if key not in derived} == {
                key: value for key, value in expected.items() if key not in derived
            }
            assert set(place.values) == set(FIELDS)


@AT_ONCE
@given(entries=job_files())
def test_images_are_counted_as_brute_force_counts_them(tmp_path: Path, entries: dict[str, Any]) -> None:
    job = the_job(tmp_path, entries)

    assert job.images == sum(place is not None for place in job)


@AT_ONCE
@given(entries=job_files())
def test_render_order_is_a_permutation_with_dear_axes_outermost(tmp_path: Path, entries: dict[str, Any]) -> None:
    job = the_job(tmp_path, {**entries, "exclude": []})

    numbers = [job.number_at(position) for position in range(job.positions)]

    assert sorted(numbers) == list(range(len(job)))
    places = [place for number in numbers if (place := job[number]) is not None]
    for cost in range(3):  # all that is at least this dear changes as often as it has values, and no more
        keys = [key for key, entry in FIELDS.items() if entry.cost <= cost]
        walked = [canonical([place.values[key] for key in keys]) for place in places]
        dear = [axis for axis in job.spec.dimensions if any(key in keys for key in axis.keys)]
        if all(all(key in keys for key in axis.keys) for axis in dear):
            changes = sum(one != two for one, two in itertools.pairwise(walked))
            assert changes == len(set(walked)) - 1


@AT_ONCE
@given(entries=job_files())
def test_a_spec_survives_json(tmp_path: Path, entries: dict[str, Any]) -> None:
    job = the_job(tmp_path, entries)

    again = Job(Spec.from_json(json.loads(canonical(job.spec.to_json()))))

    assert again.spec.hash == job.spec.hash
    assert list(again) == list(job)


@AT_ONCE
@given(entries=job_files(), wanted=st.integers(1, 40))
def test_a_sample_spreads_evenly_without_duplicates(tmp_path: Path, entries: dict[str, Any], wanted: int) -> None:
    whole = the_job(tmp_path, {**entries, "exclude": []})
    job = Job(replace(whole.spec, sample=wanted))
    order = [whole.number_at(position) for position in range(len(whole))]

    numbers = [job.number_at(position) for position in range(job.positions)]

    assert job.positions == job.images == min(wanted, len(job))
    gaps = {two - one for one, two in itertools.pairwise(sorted(order.index(number) for number in numbers))}
    assert len(set(numbers)) == len(numbers)
    assert not gaps or max(gaps) - min(gaps) <= 1


def seeds_by_values(job: Job) -> dict[bytes, set[int]]:
    seeds: dict[bytes, set[int]] = {}
    for place in job:
        assert place is not None
        shown = {key: place.values[key] for key in ("prompt", "model")}
        seeds.setdefault(canonical(shown), set()).add(place.values["seed"])
    return seeds


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param({"prompt": ["new", "a", "b"], "seed": {"derive": 3}}, id="another prompt"),
        pytest.param({"seed": {"derive": 3}, "prompt": ["b", "a"]}, id="another order"),
        pytest.param({"scheduler": ["ddim", "euler"], "prompt": ["a", "b"], "seed": {"derive": 3}}, id="schedulers"),
        pytest.param({"prompt": ["a", "b"], "seed": {"derive": 3}, "steps": [1, 2]}, id="steps"),
    ],
)
def test_derived_seeds_stay_whatever_else_changes(tmp_path: Path, axes: dict[str, Any]) -> None:
    before = seeds_by_values(Job(frozen(tmp_path, axes={"prompt": ["a", "b"], "seed": {"derive": 3}})))

    after = seeds_by_values(Job(frozen(tmp_path, axes=axes)))

    assert {key: after[key] for key in before} == before


def test_derived_seeds_differ_by_replicate_prompt_and_base(tmp_path: Path) -> None:
    axes = {"prompt": ["a", "b"], "seed": {"derive": 3}}

    jobs = [Job(frozen(tmp_path, axes=axes, seed=base)) for base in (0, 1)]

    seeds = [place.values["seed"] for job in jobs for place in job if place]
    assert len(set(seeds)) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_ten_million_images_cost_nothing(tmp_path: Path) -> None:
    axes = {"prompt": ["a", "b"], "scheduler": ["ddim", "euler"], "seed": {"count": 2_500_000}}
    began = time.process_time()

    job = Job(
        frozen(tmp_path, axes=axes, exclude=[{"prompt": "a", "seed": [1, 2, 10**7]}, {"scheduler": "euler", "seed": 2}])
    )

    assert (len(job), job.images) == (10_000_000, 10_000_000 - 5)
    assert job[9_999_999] is not None
    assert job[1] is None
    assert job.number_at(9_999_999) == 9_999_999
    assert len(canonical(job.spec.to_json())) < 2000
    assert time.process_time() - began < 1


@pytest.mark.parametrize("number", [6, -7])
def test_a_number_past_the_end_is_an_index_error(tmp_path: Path, number: int) -> None:
    job = Job(frozen(tmp_path, axes={"seed": {"count": 6}}))

    with pytest.raises(IndexError):
        job[number]


def recipe(folder: Path, **entries: Any) -> dict[str, Any]:
    job = Job(frozen(folder, **entries))
    place = job[0]
    assert isinstance(place, Place)
    return job.recipe(place, MODELS)


# If one of these changes, every catalog written before loses its images: raise RECIPE_SCHEMA instead.
GOLDEN = [
    pytest.param({}, "0dab5757eb31bd59", id="plain"),
    pytest.param(
        {"prompt": "🦊\n", "negative_prompt": "", "seed": 2**63 - 1, "guidance_scale": 3}, "389d422eebf7ff19", id="odd"
    ),
    pytest.param(
        {"scheduler": "dpmpp_2m_karras", "width": 64, "height": 512, "steps": 7}, "a418a2ff7d2e3856", id="scheduler"
    ),
]


@pytest.mark.parametrize(("entries", "wanted"), GOLDEN)
def test_a_recipe_keeps_its_hash_for_ever(tmp_path: Path, entries: dict[str, Any], wanted: str) -> None:
    assert digest(recipe(tmp_path, **entries))[:16] == wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(pytest.param(kind.name, alias, id=alias) for kind in SCHEDULERS.values() for alias in kind.aliases[:1]),
        pytest.param("dpmpp_2m_karras", {"name": "dpmpp_2m", "use_karras_sigmas": True}, id="preset spelled out"),
        pytest.param(
            {"name": "euler", "options": {"sigma_min": 0.1}}, {"name": "Euler", "sigma_min": 0.1}, id="nested"
        ),
    ],
)
def test_two_names_of_one_scheduler_give_one_recipe(tmp_path: Path, one: Any, other: Any) -> None:
    recipes = [recipe(tmp_path, scheduler=scheduler) for scheduler in (one, other)]

    assert digest(recipes[0]) == digest(recipes[1])
    assert batch_key(recipes[0]) == batch_key(recipes[1])


def test_a_silent_size_is_the_models_own(tmp_path: Path) -> None:
    assert recipe(tmp_path) == recipe(tmp_path, width=64, height=64)


@given(numbers=st.lists(st.integers(0, 10**12) | st.integers(0, 30), max_size=50, unique=True))
def test_numbers_keep_their_order_through_json(numbers: list[int]) -> None:
    packed = Numbers.of(numbers)

    again = Numbers.from_json(json.loads(json.dumps(packed.to_json())))

    assert list(again) == list(packed) == numbers
    assert len(again) == len(numbers)
    assert Counter(numbers).keys() == {number for number in range(31) if number in again} | {
        n for n in numbers if n > 30
    }


@given(start=st.integers(0, 10**9), step=st.integers(1, 10**6), rows=st.integers(1, 5), width=st.integers(2, 50))
def test_strides_need_few_ranges(start: int, step: int, rows: int, width: int) -> None:
    numbers = [start + row + step * column for row in range(rows) for column in range(width)]

    assert len(Numbers.of(numbers).to_json()) <= 2 * rows


@pytest.mark.parametrize(
    ("entries", "company"),
    [
        pytest.param({"axes": {"scheduler": ["ddim", "euler"], "steps": [2, 4]}}, 1, id="every image differs"),
        pytest.param({"axes": {"prompt": ["a", "b"], "seed": {"count": 5}, "steps": [2, 4]}}, 10, id="two inner axes"),
        pytest.param(
            {"zip": [{"prompt": ["a", "b", "c", "d"], "steps": [2, 2, 4, 4]}], "axes": {"seed": {"count": 3}}}, 6,
            id="a zip in runs of two",
        ),
        pytest.param({"zip": [{"prompt": ["a", "b"], "steps": [2, 4]}]}, 1, id="a zip that changes each time"),
    ],
)  # fmt: skip
def test_a_job_knows_how_many_images_may_share_a_call(tmp_path: Path, entries: dict[str, Any], company: int) -> None:
    job = Job(frozen(tmp_path, **entries))

    assert job.company == company
