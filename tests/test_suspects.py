"""Dividing what a bad image left undone: each image goes on once, and the bad one soon stands alone."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.planning.suspects import HALVED_AT, LAST_FAULT, divide, sentence
from storage.spec import Numbers

NUMBERS = st.lists(st.integers(0, 500), min_size=1, max_size=40, unique=True)


@given(
    numbers=NUMBERS,
    suspects=st.none() | st.lists(st.integers(0, 500), max_size=20, unique=True),
    faults=st.integers(0, 4),
)
def test_every_image_goes_on_exactly_once(numbers: list[int], suspects: list[int] | None, faults: int) -> None:
    known = None if suspects is None else Numbers.of(suspects)

    parts = divide(Numbers.of(numbers), suspects=known, faults=faults)

    assert sorted(number for part in parts for number in part.numbers) == sorted(numbers)
    assert all(part.faults == faults + part.accused for part in parts)
    assert all(len(part.numbers) == 1 for part in parts if part.failed)


def test_suspects_are_parted_from_the_rest() -> None:
    parts = divide(Numbers.of(range(10)), suspects=Numbers.of([4, 5]), faults=0)

    assert [(list(part.numbers), part.faults, part.accused) for part in parts] == [
        ([4, 5], 1, True), ([0, 1, 2, 3, 6, 7, 8, 9], 0, False),
    ]  # fmt: skip


def test_where_nobody_knows_the_whole_chunk_is_suspected_then_halved() -> None:
    (whole,) = divide(Numbers.of(range(5)), suspects=None, faults=0)
    halves = divide(whole.numbers, suspects=None, faults=whole.faults)

    assert (list(whole.numbers), whole.faults) == ([0, 1, 2, 3, 4], 1)
    assert [(list(part.numbers), part.faults) for part in halves] == [([0, 1, 2], HALVED_AT), ([3, 4], HALVED_AT)]


def test_a_range_beyond_counting_is_no_harm() -> None:
    parts = divide(Numbers.of([1, 2]), suspects=Numbers([range(10**15)]), faults=0)

    assert [list(part.numbers) for part in parts] == [[1, 2]]


@given(size=st.integers(1, 64), bad=st.integers(0, 63), batch=st.integers(1, 16))
def test_a_bad_image_that_is_known_ends_three_runs_and_its_neighbours_none(size: int, bad: int, batch: int) -> None:
    waiting, runs, failed = [(Numbers.of(range(size)), 0)], 0, []
    bad %= size

    while waiting:
        numbers, faults = waiting.pop()
        if bad not in numbers:
            continue
        runs += 1
        listed = list(numbers)
        start = listed.index(bad) // batch * batch
        known = listed[start : start + batch] if faults == 0 else [bad]
        for part in divide(numbers, suspects=Numbers.of(known), faults=faults):
            if part.failed:
                failed += list(part.numbers)
            else:
                waiting.append((part.numbers, part.faults))

    assert (runs, failed) == (LAST_FAULT, [bad])


@given(size=st.integers(1, 64), bad=st.integers(0, 63))
def test_a_bad_image_that_nobody_saw_fails_alone_too(size: int, bad: int) -> None:
    waiting, failed = [(Numbers.of(range(size)), 0)], []
    bad %= size

    while waiting:
        numbers, faults = waiting.pop()
        if bad in numbers:
            for part in divide(numbers, suspects=None, faults=faults):
                failed += list(part.numbers) if part.failed else []
                waiting += [] if part.failed else [(part.numbers, part.faults)]

    assert failed == [bad]


def test_the_sentence_names_how_often_where_and_what_to_do() -> None:
    said = sentence("crash", job="j", number=7, faults=3, node="gpu0")

    assert "3 times" in said
    assert "gpu0" in said
    assert "farm retry j --image 7" in said
