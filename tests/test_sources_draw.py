"""A random sample of a product: distinct, stable, even, and found place by place."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec_files import CAP, PLAIN, frozen, frozen_file
from storage.errors import InvalidSpec
from storage.spec import Job, Spec
from storage.spec.draw import Draw
from storage.spec.growth import add_values, extend
from storage.spec.probes import probes

WORDS = [f"w{place}" for place in range(1000)]
HUGE = {"prompt": {"template": "{a} {b} {c} {d} {e}", "values": dict.fromkeys("abcde", WORDS)}}


@given(places=st.integers(1, 10**45), share=st.floats(0, 1), seed=st.integers(0, 2**63 - 1))
def test_places_rise_and_none_comes_twice(places: int, share: float, seed: int) -> None:
    count = max(1, min(places, int(200 * share)))

    drawn = list(map(Draw(count, seed, places).__getitem__, range(count)))

    assert drawn == sorted(set(drawn))
    assert drawn[0] >= 0
    assert drawn[-1] < places


@given(places=st.integers(1, 300), seed=st.integers(0, 1000))
def test_a_sample_of_everything_is_everything(places: int, seed: int) -> None:
    drawn = Draw(places, seed, places)

    assert [drawn[position] for position in range(places)] == list(range(places))


@pytest.mark.parametrize(("places", "count"), [(3, 2), (7, 5), (10, 3), (11, 10)])
def test_each_place_has_the_same_chance(places: int, count: int) -> None:
    tries = 6000

    times = Counter(
        place
        for seed in range(tries)
        for place in map(Draw(count, seed, places).__getitem__, range(count))
    )  # fmt: skip

    expected = tries * count / places
    assert all(abs(times[place] - expected) < 6 * expected**0.5 for place in range(places))


def test_a_sample_of_ten_to_the_fifteen_places_is_spread_over_every_word(tmp_path: Path) -> None:
    job = Job(frozen(tmp_path, axes=HUGE, sample={"count": 20_000, "seed": 7}))

    places = [job[job.number_at(position)] for position in range(job.positions)]

    assert (len(job), job.images) == (20_000, 20_000)
    assert len({place.values["prompt"] for place in places if place}) == 20_000
    for name in "abcde":
        times = Counter(place.labels[name] for place in places if place)
        assert len(times) > 990
        assert max(times.values()) < 60  # 20 on average


def test_a_sample_is_told_by_its_seed_and_survives_the_frozen_text(tmp_path: Path) -> None:
    one, again, other = (frozen(tmp_path, axes=HUGE, sample={"count": 50, "seed": seed}) for seed in (1, 1, 2))

    assert one.hash == again.hash != other.hash
    assert list(Job(Spec.from_json(one.to_json()))) == list(Job(one))
    assert list(Job(other)) != list(Job(one))


def test_numbers_are_dense_and_dear_axes_turn_slowest(tmp_path: Path) -> None:
    axes: dict[str, Any] = {"prompt": WORDS, "model": ["./m", "owner/one", "owner/two"], "seed": {"count": 100}}
    job = Job(frozen(tmp_path, axes=axes, sample={"count": 300}))

    places = [job[job.number_at(position)] for position in range(job.positions)]

    assert [place.number for place in places if place] == list(range(300))
    models = [place.values["model"] for place in places if place]
    assert sum(one != two for one, two in pairwise(models)) == 2
    assert Counter(models) == dict.fromkeys(axes["model"], 100)


def test_excluded_places_of_a_sample_stay_empty_and_are_counted(tmp_path: Path) -> None:
    axes = {"prompt": WORDS[:10], "steps": [10, 20], "seed": {"count": 50}}
    job = Job(frozen(tmp_path, axes=axes, exclude=[{"steps": 10}], sample={"count": 100}))

    filled = [place for place in job if place is not None]

    assert len(job) == 100
    assert job.images == len(filled)
    assert 40 <= len(filled) <= 60
    assert {place.values["steps"] for place in filled} == {20}


def test_derived_seeds_of_a_sample_are_those_of_the_whole_job(tmp_path: Path) -> None:
    axes = {"prompt": WORDS[:20], "seed": {"derive": 5}}
    whole = {(place.values["prompt"], place.values["seed"]) for place in Job(frozen(tmp_path, axes=axes)) if place}

    drawn = {
        (place.values["prompt"], place.values["seed"])
        for place in Job(frozen(tmp_path, axes=axes, sample={"count": 30}))
        if place
    }

    assert len(drawn) == 30
    assert drawn < whole


def test_a_trial_of_a_sample_is_a_part_of_it(tmp_path: Path) -> None:
    spec = frozen(tmp_path, axes=HUGE, sample={"count": 1000})
    trial = Job(replace(spec, sample=10))

    assert [trial.number_at(position) for position in range(trial.positions)] == list(range(0, 1000, 100))


def test_probes_of_a_sample_are_images_of_it(tmp_path: Path) -> None:
    axes = {"prompt": WORDS[:10], "steps": [10, 20, 30], "seed": {"count": 10**6}}
    job = Job(frozen(tmp_path, axes=axes, sample={"count": 200}))

    found = list(probes(job))

    assert all(place == job[place.number] for place in found)
    assert {place.values["prompt"] for place in found} == set(WORDS[:10])
    assert {place.values["steps"] for place in found} == {10, 20, 30}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        pytest.param({"count": 7}, "sample.count = 7: the job has no more than 6 places", id="more than there are"),
        pytest.param({"count": 0}, "sample.count = 0: must be at least 1", id="none"),
        pytest.param({"cuont": 1}, "sample.cuont = 1: unknown key; did you mean 'count'?", id="a slip"),
        pytest.param({"count": 2, "seed": -1}, "sample.seed = -1: must be at least 0", id="seed"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(tmp_path: Path, sample: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        frozen_file(tmp_path, f"{PLAIN}axes: {{seed: {{count: 6}}}}\nsample: {sample}\n")

    assert message in str(caught.value)


def test_the_cap_counts_the_sample(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"sample.count = 1000000001: images in one job; the cap is 1000000000"):
        frozen(tmp_path, axes=HUGE, sample={"count": CAP + 1})


def test_a_sample_does_not_grow(tmp_path: Path) -> None:
    spec, plain = (
        frozen(tmp_path, axes={"seed": {"count": 6}}, **more) for more in ({"sample": {"count": 3}}, {})
    )  # fmt: skip

    with pytest.raises(InvalidSpec, match="sample: a sample does not grow"):
        add_values(spec, seeds=3, max_images=CAP)
    with pytest.raises(InvalidSpec, match="sample: a sample does not grow"):
        extend(plain, spec, max_images=CAP)
