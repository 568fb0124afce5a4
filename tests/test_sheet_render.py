"""Contact sheets as bytes: PNG pages and the HTML file."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dispatcher.sheet import Sheet, SheetImage, make_sheet
from dispatcher.sheet.cell import tally
from dispatcher.sheet.face import drawable, face
from dispatcher.sheet.picture import Thumb, read_thumb
from sheet_images import factorial, image, picture
from storage.errors import BlobMissing, StoreAway

ODD = [
    pytest.param("<script>alert(1)</script>", id="script"),
    pytest.param("</script><img src=x onerror=alert(1)>", id="end of script"),
    pytest.param('" onmouseover="alert(1)" \'', id="quotes"),
    pytest.param("a fox 🦊 in 北海道 👩‍🚀", id="emoji"),
    pytest.param("first line\nsecond\r\n\tline", id="newlines"),
    pytest.param("x" * 10_000, id="10 kB word"),
    pytest.param("word " * 2_000, id="10 kB words"),
    pytest.param("", id="empty"),
    pytest.param("\u200b\u0301", id="nothing to see"),
    pytest.param("\x00\x1b[31m\udc80", id="controls"),
]


class Reader(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def sheet(images: list[SheetImage], *, title: str = "A sheet", **options: Any) -> Sheet:
    return make_sheet(images, **{"rows": None, "cols": None, "pages": None, "pick": {}, "title": title, **options})


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png), formats=["PNG"])


def away() -> bytes:
    raise StoreAway("here", "closed")


def missing() -> bytes:
    raise BlobMissing("key", "here")


@pytest.mark.parametrize("prompt", ODD)
def test_an_odd_prompt_is_text_and_nothing_else(prompt: str) -> None:
    plain = Reader(sheet(factorial({"prompt": ["a", "b"], "seed": [1, 2]})).html)

    made = sheet(factorial({"prompt": [prompt, "b"], "seed": [1, 2]}), title=prompt)

    seen = Reader(made.html)
    assert [tag for tag, _ in seen.tags] == [tag for tag, _ in plain.tags]
    assert not any(name.startswith("on") for _, attributes in seen.tags for name in attributes)
    made.html.encode()
    assert opened(made.png_pages[0]).width < 1000


def test_a_recipe_reaches_the_page_whole() -> None:
    recipe = {"prompt": "</script> & <b>", "seed": 7, "size": [64, 64]}

    html = sheet([replace(image(0, {"prompt": "a"}), recipe=recipe)]).html

    found = re.search(r'<script type="application/json" id="recipes">(.*?)</script>', html)
    assert found
    assert json.loads(found[1]) == [[["prompt", "</script> & <b>"], ["seed", "7"], ["size", "[64, 64]"]]]


def test_the_file_asks_nobody_for_anything() -> None:
    html = sheet(factorial({"prompt": ["a", "b"], "guidance_scale": [1, 2], "seed": [1, 2]})).html

    links = [value or "" for _, attributes in Reader(html).tags for name, value in attributes.items() if name == "src"]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert "default-src 'none'" in html
    assert not re.search(r"https?://", html)


def test_a_small_picture_keeps_its_bytes_and_a_large_one_is_shrunk() -> None:
    small, large = picture(), picture(size=(1024, 512))

    thumbs = [read_thumb(image(0, {}, read=lambda data=data: data), edge=160, web_edge=320) for data in (small, large)]

    assert [isinstance(thumb, Thumb) and (thumb.mime, thumb.small.size) for thumb in thumbs] == [
        ("image/png", (128, 128)),  # twice, not two and a half times
        ("image/webp", (160, 80)),
    ]
    assert isinstance(thumbs[0], Thumb)
    assert thumbs[0].data == small


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_every_kind_of_png_has_a_thumbnail(mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (70, 30)).save(out, "PNG")

    thumb = read_thumb(image(0, {}, read=out.getvalue))

    assert isinstance(thumb, Thumb)
    assert thumb.small.mode == "RGB"


@pytest.mark.parametrize(
    ("state", "read", "word"),
    [
        pytest.param("open", None, "open", id="open"),
        pytest.param("failed", None, "failed", id="failed"),
        pytest.param("done", lambda: b"no picture", "unreadable", id="not a picture"),
        pytest.param("done", lambda: picture()[:60], "unreadable", id="cut short"),
        pytest.param("done", lambda: b"", "unreadable", id="empty"),
        pytest.param("done", missing, "unreadable", id="missing"),
    ],
)
def test_a_place_without_a_picture_says_why(state: str, read: Callable[[], bytes] | None, word: str) -> None:
    images = factorial({"prompt": ["a", "b"], "seed": [1, 2]})
    images[1] = replace(images[1], state=state, read=read)

    made = sheet(images)

    assert f'<b class="{word}">{word}</b>' in made.html
    assert len(made.png_pages) == 1


def test_a_place_that_does_not_exist_is_blank() -> None:
    made = sheet(factorial({"prompt": ["a", "b"], "seed": [1, 2]})[:3])

    assert made.html.count("<td></td>") == 2  # the place, and the corner of the head


def test_a_store_that_is_away_is_not_drawn_as_broken_pictures() -> None:
    with pytest.raises(StoreAway):
        sheet([image(0, {"prompt": "a"}, read=away)])


def test_every_shown_picture_is_read_once_and_no_other() -> None:
    reads: list[int] = []
    images = [
        replace(one, read=lambda number=one.number: reads.append(number) or picture())
        for one in factorial({"prompt": ["a", "b"], "seed": range(30)})
    ]

    made = sheet(images)

    assert sorted(reads) == [*range(24), *range(30, 54)]
    assert made.note.splitlines() == [
        "1 page, 2 rows x 24 columns, 48 of 60 images",
        "rows: prompt · columns: seed",
        "first 24 of 30 columns; --cols, --pick or --limit choose others",
    ]


def test_the_same_images_give_the_same_bytes() -> None:
    images = factorial({"prompt": ["a fox", "a cat"], "scheduler": ["ddim", "euler"], "seed": [1, 2]})

    assert sheet(images) == sheet(images[::-1])


def test_further_images_of_a_place_are_counted_in_it() -> None:
    images = [image(number, {"prompt": "ab"[number // 3]}) for number in range(6)]

    made = sheet(images)

    assert made.html.count("<i>+2</i>") == 2
    assert "4 more in the same places" in made.html


def test_no_images_are_an_empty_file_not_a_crash() -> None:
    made = sheet([])

    assert (made.png_pages, made.note) == ((), "no images to show")
    assert "no images" in made.html
    assert tally([]) == "0 images"


@settings(max_examples=60)
@example(text="/0KÐĲ", width=40, lines=2)  # what follows the joint is too wide, too
@given(text=st.text(), width=st.integers(40, 300), lines=st.integers(1, 4))
def test_wrapped_text_fits(text: str, width: int, lines: int) -> None:
    wrapped = face(14).wrap(text, width=width, lines=lines)

    assert len(wrapped) <= lines
    assert all(face(14).width(line) <= width for line in wrapped)


def test_text_that_fits_is_kept_and_what_the_face_lacks_is_a_box() -> None:
    assert drawable("Zürich – 北\n×2") == "Zurich - □ x2"
    assert face(14).wrap("two words", width=300, lines=4) == ["two words"]
    assert face(14).wrap("dpmpp_2m_karras", width=80, lines=4) == ["dpmpp_2m_", "karras"]
