"""Pictures as half blocks."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import Color
from rich.console import Console, Group
from rich.text import Text

from dispatcher.views.mosaic import mosaic
from sheet_images import picture

FOX = picture("#ff8000", size=(512, 300))
SEA = picture("#0080ff", size=(64, 64), kind="WEBP")


def colours(text: Text) -> list[tuple[str, Color | None, Color | None]]:
    """Every character with what a terminal would paint it in."""
    console = Console(width=200, force_terminal=True, color_system="truecolor", legacy_windows=False)
    return [
        (char, segment.style.color if segment.style else None, segment.style.bgcolor if segment.style else None)
        for segment in console.render(text)
        for char in segment.text
    ][:-1]  # the line end


@pytest.mark.parametrize(
    ("width", "rows", "tiles", "columns"),
    [
        pytest.param(80, 8, 5, 79, id="one pixel less makes room for a fifth"),
        pytest.param(80, 7, 5, 74, id="five of fourteen"),
        pytest.param(120, 8, 7, 118, id="wide"),
        pytest.param(10, 8, 1, 10, id="narrower than a tile"),
    ],
)
def test_as_many_tiles_as_fit(width: int, rows: int, tiles: int, columns: int) -> None:
    lines = mosaic([FOX] * 20, width=width, rows=rows).plain.split("\n")

    assert {len(line) for line in lines} == {columns}
    assert len(lines) == min(rows, (columns + 1) // 2)
    assert lines[0].count(" ") == tiles - 1


@settings(max_examples=40)
@given(count=st.integers(0, 9), width=st.integers(0, 100), rows=st.integers(0, 10))
def test_a_mosaic_never_leaves_its_frame(count: int, width: int, rows: int) -> None:
    lines = mosaic([SEA] * count, width=width, rows=rows).plain.split("\n")

    assert len(lines) <= max(rows, 1)
    assert all(len(line) <= width for line in lines)


def test_the_newest_stands_first_in_its_own_colours() -> None:
    painted = colours(mosaic([FOX, SEA], width=80, rows=8))

    first, last = painted[0], painted[16]
    assert first == ("▀", Color.from_rgb(255, 128, 0), Color.from_rgb(255, 128, 0))
    assert last[1] is not None
    assert last[1].triplet is not None
    assert last[1].triplet.blue > 240


def test_an_odd_square_ends_in_upper_halves() -> None:
    painted = colours(mosaic([FOX] * 5, width=80, rows=8))

    _, upper, lower = painted[-1]
    assert upper is not None
    assert lower is None


@pytest.mark.parametrize("broken", [b"", b"no picture", FOX[:40]], ids=["empty", "text", "cut short"])
def test_bytes_that_are_no_picture_are_an_empty_tile(broken: bytes) -> None:
    painted = colours(mosaic([broken], width=80, rows=4))

    assert len({colour for _, *pair in painted for colour in pair if colour}) == 1
    assert len(mosaic([broken], width=80, rows=4).plain.split("\n")) == 4


def test_nothing_to_show_is_nothing() -> None:
    assert mosaic([], width=80, rows=8).plain == ""


def test_what_follows_begins_on_a_line_of_its_own() -> None:
    console = Console(width=80, record=True, file=io.StringIO(), color_system="truecolor")

    console.print(Group(mosaic([FOX], width=80, rows=4), Text("gpu0 idle")))

    assert console.export_text().splitlines()[-1] == "gpu0 idle"
