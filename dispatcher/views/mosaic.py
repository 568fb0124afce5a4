"""The newest pictures in the terminal: one half block "▀" per two pixels, its foreground the upper one.

Pure: pictures in, text out. The caller redraws several times a second, so a tile is made once per picture.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import zip_longest

from PIL import Image, ImageOps
from rich.color import Color
from rich.style import Style
from rich.text import Text

from dispatcher.sheet.picture import decode, flatten

GAP = 1  # columns between two tiles
NOTHING = "#3a3a3a"  # a tile whose bytes are no picture


def mosaic(pictures: Sequence[bytes], *, width: int, rows: int) -> Text:
    """Draw a line of square tiles, as many as fit.

    A tile is `2 * rows` pixels wide, or one less where that makes room for one more: eight rows are five
    tiles of 15 columns in a terminal of 80.

    Args:
        pictures: Encoded PNG, JPEG or WebP, the newest first; the oldest are left out.
        width: Columns there are.
        rows: Lines of text a tile may take.

    Returns:
        At most `rows` lines of at most `width` columns; empty when there is nothing to draw.
    """
    edge = _edge(width, rows)
    if edge < 1 or not pictures:
        return Text("")
    tiles = [_tile(picture, edge) for picture in pictures[: _fitting(width, edge)]]
    lines = [Text(" " * GAP).join(parts) for parts in zip(*tiles, strict=True)]
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "crop"
    return text


def _edge(width: int, rows: int) -> int:
    """The side of a tile in pixels, which are columns across and half lines down."""
    edge = min(2 * rows, width)
    return edge - 1 if edge > 1 and _fitting(width, edge - 1) > _fitting(width, edge) else edge


def _fitting(width: int, edge: int) -> int:
    return (width + GAP) // (edge + GAP)


@lru_cache(maxsize=64)
def _tile(encoded: bytes, edge: int) -> tuple[Text, ...]:
    """The lines of one picture, cropped to its middle square."""
    try:
        square = ImageOps.fit(flatten(decode(encoded)[0], ground="black"), (edge, edge), Image.Resampling.LANCZOS)
    except Exception:  # noqa: BLE001 decoders answer broken bytes with errors of every kind
        square = Image.new("RGB", (edge, edge), NOTHING)
    pixels = [Color.from_rgb(*rgb) for rgb in zip(*[iter(square.tobytes())] * 3, strict=True)]
    lines = [pixels[start : start + edge] for start in range(0, edge * edge, edge)]
    return tuple(_line(upper, lower) for upper, lower in zip_longest(lines[::2], lines[1::2], fillvalue=[None] * edge))


def _line(upper: Sequence[Color | None], lower: Sequence[Color | None]) -> Text:
    """Two rows of pixels; under the last row of an odd square there is none."""
    line = Text()
    for top, bottom in zip(upper, lower, strict=True):
        line.append("▀", Style(color=top, bgcolor=bottom))
    return line
