"""Numbers of places and of their takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.spec import Job, check_job_file, freeze
from storage.spec.number import TAKE, number_of, place_of, read_number, seed_of_take, show_number, take_of

PLACES = st.integers(0, TAKE - 1)
TAKES = st.integers(0, 999_999)


@given(PLACES, TAKES)
def test_a_number_tells_its_place_and_its_take(place, take):
    number = number_of(place, take=take)
    assert (place_of(number), take_of(number)) == (place, take)
    assert read_number(show_number(number)) == number
    assert number < 2**63


@given(st.tuples(PLACES, TAKES), st.tuples(PLACES, TAKES))
def test_takes_come_after_every_place(one, other):
    first, second = (number_of(place, take=take) for place, take in (one, other))
    assert (first < second) == ((one[1], one[0]) < (other[1], other[0]))


@given(st.integers(0, 2**63 - 1), st.integers(1, 50))
def test_a_take_has_a_seed_of_its_own(seed, take):
    drawn = [seed_of_take(seed, take=one) for one in range(take + 1)]
    assert drawn[0] == seed
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= one < 2**63 for one in drawn)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "1.", ".1", "1.01", "x", "1 ", "٣", "9" * 13])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="number of an image"):
        read_number(text)


def test_a_take_is_its_image_with_another_seed(tmp_path):
    raw = {"model": "a/b", "axes": {"prompt": ["a fox", "a hare"], "seed": [7, 8]}}
    job = Job(freeze(check_job_file(raw), base=tmp_path, name="x", max_images=100))
    stated, take = job[3], job[number_of(3, take=2)]
    assert stated is not None
    assert take is not None
    assert (take.number, take.values["seed"]) == (number_of(3, take=2), seed_of_take(8, take=2))
    assert {**take.values, "seed": 8} == stated.values
    with pytest.raises(IndexError):
        job[number_of(4, take=1)]
