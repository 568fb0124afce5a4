"""Near and exact duplicates by their hashes, against the plain way of comparing all with all."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.quality import hashes
from dispatcher.quality.duplicates import groups, near, near_and_apart, near_kept, same

Pairs = list[tuple[int, int, int]]


@st.composite
def pictures(draw: st.DrawFn) -> list[int]:
    """Hashes, many of which are a few bits away from others."""
    seeds = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=10)
    drawn = draw(st.lists(st.tuples(st.sampled_from(seeds), flips), max_size=40))
    return [_flipped(seed, bits) for seed, bits in drawn]


@given(found=pictures(), distance=st.integers(0, 16))
@settings(deadline=None)
def test_near_finds_the_lowest_number_that_looks_alike_and_misses_none(found: list[int], distance: int) -> None:
    assert list(near(_numbered(found), distance)) == _near(found, distance)


@given(found=pictures(), distance=st.integers(0, 16))
@settings(deadline=None)
def test_dividing_shifting_and_comparing_find_the_same(found: list[int], distance: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashes, "_SMALL", 2)
        patch.setattr(hashes, "_STEP", 3)
        patch.setattr(hashes, "_BLOCK", 4)
        assert list(near(_numbered(found), distance)) == _near(found, distance)


@given(found=pictures(), distance=st.integers(0, 16), kinds=st.lists(st.integers(0, 3), min_size=40, max_size=40))
@settings(deadline=None)
def test_no_likeness_between_kinds_hides_behind_one_within_a_kind(
    found: list[int], distance: int, kinds: list[int]
) -> None:
    told = list(near_and_apart(_numbered(found), distance, lambda number: kinds[number // 3]))

    apart: Pairs = []
    for place, value in enumerate(found):
        lower = [one for one in range(place) if (found[one] ^ value).bit_count() <= distance]
        other = next((one for one in lower if kinds[one] != kinds[place]), None)
        if other is not None:
            apart.append((3 * place, 3 * other, (found[other] ^ value).bit_count()))
    assert [pair for pair in told if kinds[pair[0] // 3] != kinds[pair[1] // 3]] == apart
    assert set(_near(found, distance)) <= set(told)
    assert len(told) == len(set(told))


@given(found=pictures(), distance=st.integers(0, 16))
@settings(deadline=None)
def test_each_image_stays_unless_a_lower_one_that_stays_looks_like_it(found: list[int], distance: int) -> None:
    kept: list[int] = []
    expected: Pairs = []
    for place, value in enumerate(found):
        lower = [(one, bits) for one in kept if (bits := (found[one] ^ value).bit_count()) <= distance]
        if lower:
            expected.append((3 * place, 3 * lower[0][0], lower[0][1]))
        else:
            kept.append(place)

    assert list(near_kept(_numbered(found), distance)) == expected


@given(found=pictures(), distance=st.integers(0, 16))
@settings(deadline=None)
def test_groups_hold_each_image_with_a_likeness_once_and_with_it(found: list[int], distance: int) -> None:
    gathered = groups(_numbered(found), distance)

    alike = {number for number, _, _ in near(_numbered(found), distance)}
    members = [number for group in gathered for number in group]
    assert len(members) == len(set(members))
    assert {number for group in gathered for number in group[1:]} == alike
    assert all(group == sorted(group) for group in gathered)
    assert all(
        any({number, lower} <= set(group) for group in gathered)
        for number, lower, _ in near(_numbered(found), distance)
    )


def test_a_chain_of_neighbours_loses_every_other_picture_and_not_all_but_the_first() -> None:
    chain = [(1 << 2 * length) - 1 for length in range(6)]  # two bits from one to the next

    left_out = [number for number, _, _ in near_kept(_numbered(chain), 2)]

    assert left_out == [3, 9, 15]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda place: 0, id="all blank"),
        pytest.param(lambda place: place << 40, id="nearly blank"),
        pytest.param(lambda place: (place * 0x9E3779B97F4A7C15) % 2**64, id="all different"),
        pytest.param(lambda place: (place * 0x9E3779B97F4A7C15) % 2**52 << 12, id="one band alike"),
    ],
)
def test_many_pictures_are_compared_exactly_too(make: Callable[[int], int]) -> None:
    found = [make(place) for place in range(1200)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashes, "_SMALL", 500)
        assert list(near(_numbered(found), 4)) == _near(found, 4)


@pytest.mark.parametrize("distance", [-1, 17])
def test_a_distance_out_of_range_is_refused(distance: int) -> None:
    with pytest.raises(ValueError, match="distance"):
        list(near([(0, "0" * 16)], distance))


@pytest.mark.parametrize("look", [near, near_kept, groups])
def test_no_pictures_have_no_likeness(look: Callable[..., object]) -> None:
    assert not list(look([], 4))  # type: ignore[call-overload]


@given(st.lists(st.integers(0, 5)))
def test_the_same_pixels_lead_to_the_lowest_number(found: list[int]) -> None:
    expected = [(3 * place, 3 * found.index(value)) for place, value in enumerate(found) if value in found[:place]]

    assert list(same((3 * place, f"{value:x}" * 64) for place, value in enumerate(found))) == expected


def _flipped(value: int, bits: Sequence[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def _numbered(found: Sequence[int]) -> list[tuple[int, str]]:
    """Images 0, 3, 6, ...: numbers need not follow each other."""
    return [(3 * place, f"{value:016x}") for place, value in enumerate(found)]


def _near(found: Sequence[int], distance: int) -> Pairs:
    said: Pairs = []
    for place, value in enumerate(found):
        lower = next((one for one in range(place) if (found[one] ^ value).bit_count() <= distance), None)
        if lower is not None:
            said.append((3 * place, 3 * lower, (found[lower] ^ value).bit_count()))
    return said
