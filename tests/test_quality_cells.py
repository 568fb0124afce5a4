"""Verdicts and next takes, as pure functions of what a job has made."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.quality.cells import Cells, Outcome
from dispatcher.quality.verdicts import Facts, verdicts
from storage.spec.number import number_of, place_of, take_of
from storage.spec.quality import Rules

NOTHING: dict[str, Any] = {
    "flags": frozenset(), "exact": False, "distance": None, "bounds": {}, "next_seed": False, "accept": None,
    "per": None, "tries": 1,
}  # fmt: skip
ALL = Rules(**{**NOTHING, "flags": frozenset({"low_variance"}), "exact": True, "distance": 2})


def facts(number: int, *flags: str, pixels: str = "", look: int = 0, **scores: Any) -> Facts:
    return Facts(number, frozenset(flags), scores, (pixels or f"{number:x}").zfill(64), f"{look:016x}")


images = st.lists(st.tuples(st.sampled_from(["", "low_variance"]), st.integers(0, 5)), max_size=12).map(
    lambda drawn: [
        facts(number, *([flag] if flag else []), pixels=f"{look:x}", look=(1 << 2 * look) - 1)
        for number, (flag, look) in enumerate(drawn)
    ]
)


@given(images)
def test_of_pictures_that_are_the_same_exactly_one_stays(made: list[Facts]) -> None:
    rules = Rules(**{**NOTHING, "flags": frozenset({"low_variance"}), "exact": True})

    kept = Counter(one.pixel_sha256 for one in made if one.number not in verdicts(made, rules))

    sound = {one.pixel_sha256 for one in made if not one.flags}
    assert kept == dict.fromkeys(sound, 1)


@given(images)
def test_every_duplicate_names_a_lower_image_that_stays(made: list[Facts]) -> None:
    rejected = verdicts(made, ALL)

    for number, why in rejected.items():
        if "duplicate" in why:
            original = int(why.split()[2])
            assert original < number
            assert original not in rejected
        else:
            assert why == "low_variance"


@given(made=images, cut=st.integers(0, 12))
def test_images_with_higher_numbers_change_no_verdict(made: list[Facts], cut: int) -> None:
    all_of_them = verdicts(made, ALL)

    assert verdicts(made[:cut], ALL) == {number: why for number, why in all_of_them.items() if number < cut}


@given(made=images, split=st.integers(1, 11), takes=images)
def test_an_extension_changes_no_verdict_on_what_was_there_though_its_numbers_are_lower_than_those_of_takes(
    made: list[Facts], split: int, takes: list[Facts]
) -> None:
    began = made[:split] + [replace(one, number=number_of(one.number, take=1)) for one in takes[:split]]
    later = made[split:] + [replace(one, number=number_of(one.number, take=1)) for one in takes[split:]]
    both = sorted(began + later, key=lambda one: one.number)

    longer = verdicts(both, ALL, firsts=[0, split])

    there = {one.number for one in began}
    assert {number: why for number, why in longer.items() if number in there} == verdicts(began, ALL)


def test_images_of_an_extension_come_after_the_takes_of_what_was_there() -> None:
    made = [facts(0, pixels="a"), facts(2, pixels="b"), facts(3, pixels="c"), facts(number_of(1, take=1), pixels="b")]
    rules = Rules(**{**NOTHING, "exact": True})

    assert verdicts(made, rules, firsts=[0, 2]) == {2: "exact_duplicate of 1.1"}
    assert verdicts(made, rules) == {number_of(1, take=1): "exact_duplicate of 2"}


def test_reasons_are_said_in_words_and_all_of_them() -> None:
    rules = Rules(**{
        **NOTHING, "flags": frozenset({"low_variance", "nsfw"}), "exact": True, "distance": 4,
        "bounds": {"clip": (0.2, None), "safety": (None, 0.5), "aesthetic": (5.0, None)},
    })  # fmt: skip
    good: dict[str, Any] = {"clip": 0.3, "safety": 0.1, "aesthetic": 6.0}
    made = [
        facts(0, "nsfw", "low_variance", **{**good, "clip": 0.1812}),
        facts(1, "truncated", pixels="a", look=0, **good),
        facts(2, pixels="a", look=0, **good),
        facts(3, look=0b111, **good),
        facts(4, look=2**60 - 1, **{**good, "safety": 0.75}),
        facts(5, look=2**60 - 1, clip=0.3, safety=0.1),
        facts(number_of(2, take=1), look=1, **good),
        facts(number_of(2, take=2), look=2**40 - 1, **good),
        facts(number_of(4, take=2), look=2**40 - 1, **good),
    ]

    assert verdicts(made, rules) == {
        0: "low_variance; nsfw; clip 0.1812 below 0.2",
        2: "exact_duplicate of 1",
        3: "near_duplicate of 1 (3 bits)",
        4: "safety 0.75 above 0.5",
        5: "aesthetic was not measured",
        number_of(2, take=1): "near_duplicate of 1 (1 bit)",
        number_of(4, take=2): "near_duplicate of 2.2 (0 bits)",
    }


# ------------------------------------------------------------------------------------------------------- next takes
Fates = dict[int, list[Outcome]]  # place -> what becomes of its takes
fates = st.dictionaries(
    st.integers(0, 9),
    st.lists(st.sampled_from(["accepted", "rejected", "rejected", "failed"]), min_size=6, max_size=6),
    max_size=8,
)


@given(fates=fates, quota=st.integers(1, 6), tries=st.integers(1, 6))
def test_rounds_end_and_a_cell_gets_its_quota_wherever_its_takes_allow(fates: Fates, quota: int, tries: int) -> None:
    rendered, short = play(fates, quota=quota, tries=tries)

    accepted = sum(fates[place_of(number)][take_of(number)] == "accepted" for number in rendered)
    allowed = {place: reached(outcomes[:tries]) for place, outcomes in fates.items()}
    reachable = sum(outcomes[-1] == "accepted" for outcomes in allowed.values())
    assert (accepted >= quota) == (reachable >= quota)
    assert bool(short) == (bool(fates) and accepted < quota)
    assert all(take_of(number) < tries for number in rendered)
    assert len(rendered) == len(set(rendered))
    if accepted < quota:  # everything was tried
        assert len(rendered) == sum(len(outcomes) for outcomes in allowed.values())


@given(fates=fates, quota=st.integers(1, 6), tries=st.integers(1, 6), step=st.integers(1, 3))
def test_what_is_rendered_does_not_depend_on_how_a_round_is_divided(
    fates: Fates, quota: int, tries: int, step: int
) -> None:
    assert play(fates, quota=quota, tries=tries) == play(fates, quota=quota, tries=tries, step=step)


@given(fates=fates, quota=st.integers(1, 6))
def test_only_rejected_places_get_takes_one_at_a_time_and_lowest_first(fates: Fates, quota: int) -> None:
    rendered, _ = play(fates, quota=quota, tries=6, step=1)

    takes = [number for number in rendered if take_of(number)]
    assert takes == sorted(takes)
    assert all(fates[place_of(number)][take_of(number) - 1] == "rejected" for number in takes)


def test_a_take_under_way_counts_as_one_that_comes() -> None:
    cells = Cells(quota=2, tries=5)
    for place, outcome in enumerate(("accepted", "rejected", "rejected")):
        cells.add("a fox", place, "rejected" if outcome == "rejected" else "accepted")
    cells.add("a fox", number_of(1, take=1), "pending")

    assert cells.next_takes() == []
    assert cells.short() == []


def test_cells_are_counted_apart() -> None:
    cells = Cells(quota=1, tries=3)
    cells.add("a", 0, "accepted")
    cells.add("a", 1, "rejected")
    cells.add("b", 2, "rejected")
    cells.add("b", 3, "rejected")
    cells.add("c", 4, "failed")

    assert cells.next_takes() == [number_of(2, take=1)]
    assert cells.short() == ["c"]


def reached(outcomes: list[Outcome]) -> list[Outcome]:
    """The takes of a place that can ever be rendered: each but the last one was rejected."""
    ends = next((place for place, outcome in enumerate(outcomes) if outcome != "rejected"), len(outcomes) - 1)
    return outcomes[: ends + 1]


def play(fates: Fates, *, quota: int, tries: int, step: int | None = None) -> tuple[list[int], list[Any]]:
    """Render what is asked for until nothing is. Returns the numbers in order, and the cells that stay short."""
    rendered = sorted(fates)
    for _ in range(1000):
        cells = Cells(quota=quota, tries=tries)
        for number in sorted(rendered):
            cells.add("one", number, fates[place_of(number)][take_of(number)])
        takes = cells.next_takes()
        if not takes:
            return rendered, cells.short()
        rendered += takes[:step]
    raise AssertionError("the rounds never end")
