"""Where images stand on a contact sheet."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.sheet import Page, layout
from sheet_images import factorial, image
from storage.errors import UnknownName, UserError

PROMPTS = ("a fox", "a lighthouse", "an old sailor")
SCHEDULERS = ("ddim", "euler")

values = st.one_of(st.text(max_size=5), st.integers(0, 3), st.floats(0, 3), st.none())
images = st.lists(
    st.dictionaries(st.sampled_from(["prompt", "scheduler", "seed", "steps", "mood"]), values), max_size=30
).map(lambda rows: [image(number, fields) for number, fields in enumerate(rows)])
axes = st.fixed_dictionaries(
    {
        "prompt": st.lists(st.text(min_size=1, max_size=9), min_size=2, max_size=5, unique=True),
        "scheduler": st.lists(st.sampled_from(["ddim", "euler", "heun", "unipc"]), min_size=2, unique=True),
        "guidance_scale": st.lists(st.integers(1, 20), min_size=1, max_size=12, unique=True),
    }
)


def lay(given_images: list[Any], **options: Any) -> list[Page]:
    return layout(given_images, **{"rows": None, "cols": None, "pages": None, "pick": {}, **options})


@given(images=images)
def test_every_image_stands_at_most_once(images: list[Any]) -> None:
    pages = lay(images)

    numbers = [shown.number for page in pages for shown in page.images]
    assert len(numbers) == len(set(numbers))
    assert bool(numbers) == bool(images)


@given(images=images)
def test_a_page_is_a_full_grid_of_its_labels(images: list[Any]) -> None:
    for page in lay(images):
        assert len(page.cells) == len(page.rows)
        assert all(len(row) == len(page.cols) for row in page.cells)


@given(axes=axes)
def test_a_full_product_leaves_no_place_empty_and_loses_no_image(axes: Mapping[str, Any]) -> None:
    everything = factorial(axes)

    pages = lay(everything)

    assert all(cell.image and not cell.others for page in pages for row in page.cells for cell in row)
    assert sorted(shown.number for page in pages for shown in page.images) == [image.number for image in everything]


@given(axes=axes, chance=st.randoms(use_true_random=False))
def test_the_declared_order_counts_not_the_order_of_arrival(axes: Mapping[str, Any], chance: Any) -> None:
    everything = factorial(axes)
    shuffled = chance.sample(everything, len(everything))

    pages = lay(shuffled)

    assert pages == lay(everything)
    assert all(page.rows == tuple(axes["prompt"]) and page.cols == tuple(axes["scheduler"]) for page in pages)


def test_the_caption_states_every_default() -> None:
    sweep = factorial({"prompt": PROMPTS, "scheduler": SCHEDULERS, "guidance_scale": (3.0, 7.5), "seed": range(8)})

    pages = lay(sweep)

    assert [page.title for page in pages] == ["guidance_scale = 3", "guidance_scale = 7.5"]
    assert pages[0].caption == "rows: prompt · columns: scheduler · pages: guidance_scale · seed = 0 (first of 8)"


def test_numbers_rise_whatever_the_order_of_the_rows() -> None:
    table = [("a fox", 0.7), ("a fox", None), ("a cat", 10), ("a cat", 0.3)]
    rows = [image(number, {"prompt": prompt, "strength": strength}) for number, (prompt, strength) in enumerate(table)]

    (page,) = lay(rows, rows="prompt", cols="strength")

    assert (page.rows, page.cols) == (("a fox", "a cat"), ("(none)", "0.3", "0.7", "10"))


def test_pictures_to_start_from_stand_down_the_side_where_no_prompt_varies() -> None:
    sweep = factorial({"long_prompts": ("refuse", "chunk"), "init_image": ("a.png", "b.png"), "strength": (0.3, 0.6)})

    pages = lay(sweep)

    assert [(page.row_field, page.col_field) for page in pages] == [("init_image", "strength")] * 2
    assert [page.title for page in pages] == ["long_prompts = refuse", "long_prompts = chunk"]


def test_what_varies_goes_across_before_seeds() -> None:
    pages = lay(factorial({"prompt": PROMPTS, "seed": range(3), "clip_skip": (0, 1), "mood": "ab"}))

    assert pages[0].caption == "rows: prompt · columns: clip_skip · pages: seed, mood"


def test_what_the_user_names_is_obeyed() -> None:
    sweep = factorial({"prompt": PROMPTS, "scheduler": SCHEDULERS, "seed": range(8)})

    (page,) = lay(sweep, rows="seed", cols="prompt", pick={"scheduler": "euler"})

    assert page.rows == tuple(map(str, range(8)))
    assert page.cols == PROMPTS
    assert page.caption == "rows: seed · columns: prompt · scheduler = euler (picked)"


def test_a_field_that_belongs_to_the_prompt_is_no_axis() -> None:
    rows = [("a fox", "animal"), ("a cat", "animal"), ("a barn", "building")]
    tied = [
        image(number, {"prompt": prompt, "kind": kind, "seed": seed})
        for number, (prompt, kind, seed) in enumerate((*row, seed) for row in rows for seed in (1, 2))
    ]

    (page,) = lay(tied)

    assert page.caption == "rows: prompt · columns: seed"
    assert len(page.images) == 6


def test_seeds_drawn_for_every_image_are_counted_not_spread_out() -> None:
    drawn = [image(number, {"prompt": PROMPTS[number // 4], "seed": 900 + number}) for number in range(12)]

    (page,) = lay(drawn)

    assert [(cell.image and cell.image.number, cell.others) for (cell,) in page.cells] == [(0, 3), (4, 3), (8, 3)]


def test_one_long_list_runs_on_from_row_to_row() -> None:
    (page,) = lay(factorial({"prompt": ["a fox"], "seed": range(97)}))

    assert page.caption == "seed, 10 to a row"
    assert (page.rows[0], page.rows[-1]) == ("0 – 9", "90 – 96")
    assert [shown.number for shown in page.images] == list(range(97))


@pytest.mark.parametrize("wanted", ["7.5", "7.50", "75e-1"])
def test_a_picked_number_is_compared_as_a_number(wanted: str) -> None:
    (page,) = lay(factorial({"prompt": PROMPTS, "guidance_scale": (3.0, 7.5)}), pick={"guidance_scale": wanted})

    assert {shown.fields["guidance_scale"] for shown in page.images} == {7.5}


def test_a_picked_seed_is_exact_where_a_float_is_not() -> None:
    seeds = (2**62, 2**62 + 1)

    (page,) = lay(factorial({"seed": seeds}), pick={"seed": str(seeds[1])})

    assert [shown.fields["seed"] for shown in page.images] == [seeds[1]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"rows": "promt"}, "field 'promt': unknown; did you mean 'prompt'?", id="rows"),
        pytest.param({"pick": {"sceduler": "ddim"}}, "field 'sceduler': unknown; did you mean 'scheduler'?", id="pick"),
        pytest.param({"pick": {"scheduler": "eulr"}}, "scheduler 'eulr': unknown; did you mean 'euler'?", id="value"),
        pytest.param({"pick": {"seed": "9"}}, "seed '9': unknown; known: 0, 1", id="number"),
    ],
)
def test_a_refusal_names_the_nearest(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UnknownName) as caught:
        lay(factorial({"prompt": PROMPTS, "scheduler": SCHEDULERS, "seed": (0, 1)}), **options)

    assert str(caught.value) == words


def test_one_field_cannot_have_two_roles() -> None:
    with pytest.raises(UserError, match="'prompt' stands in two"):
        lay(factorial({"prompt": PROMPTS, "seed": (0, 1)}), rows="prompt", cols="prompt")


@pytest.mark.parametrize(
    ("axes", "options", "shape", "cut"),
    [
        pytest.param({"prompt": range(120), "seed": (1, 2)}, {}, (1, 40, 2), "first 40 of 120 rows", id="rows"),
        pytest.param({"prompt": (1, 2), "seed": range(30)}, {}, (1, 2, 24), "first 24 of 30 columns", id="columns"),
        pytest.param({"seed": range(30), "prompt": "ab"}, {"pages": "seed"}, (12, 2, 1), "first 12 of 30", id="pages"),
        pytest.param({"seed": range(600)}, {}, (1, 40, 12), "first 40 of 50 rows", id="flow"),
    ],
)
def test_what_is_too_much_is_cut_and_said(axes: Any, options: Any, shape: tuple[int, int, int], cut: str) -> None:
    pages = lay(factorial(axes), **options)

    assert (len(pages), len(pages[0].rows), len(pages[0].cols)) == shape
    assert pages[0].cut.startswith(cut)


def test_a_page_shows_only_the_rows_that_occur_on_it() -> None:
    tied = [image(n, {"prompt": p, "kind": k}) for n, (p, k) in enumerate([("fox", "animal"), ("barn", "building")])]

    pages = lay(tied, pages="kind")

    assert [page.rows for page in pages] == [("fox",), ("barn",)]


def test_no_images_make_no_pages() -> None:
    assert lay([]) == []
