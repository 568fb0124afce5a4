"""Text on a picture: measured, wrapped, and never a crash.

The face is the one that Pillow carries, so a sheet looks the same on every machine. It knows ASCII and
little more: letters with accents lose them, everything else becomes a small box. The HTML shows the
text as it is.
"""

import re
import unicodedata
from functools import cache, lru_cache
from typing import cast

from PIL import ImageDraw, ImageFont

BOX = "□"
JOINTS = "_-/.,"  # a long word breaks after these, if it can
LONGEST = 2000  # characters looked at; more never fits into a label
STAND_INS = {
    "–": "-", "—": "-", "−": "-", "×": "x", "•": "·", "→": ">", "←": "<", "≤": "<=", "≥": ">=",
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "ı": "i",
}  # fmt: skip


class Face:
    """The built-in face at one size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.leading = round(size * 1.36)  # pixels from baseline to baseline
        self._font = _font(size)
        self._box = round(size * 0.62)  # pixels, side of the box that stands for a missing glyph
        self._space = round(size * 0.3)  # the face's own is too narrow to read at these sizes

    def width(self, text: str) -> float:
        """Measure drawable text in pixels."""
        return sum(self._advance(char) for char in text)

    def wrap(self, text: str, *, width: float, lines: int) -> list[str]:
        """Break text into at most `lines` lines of at most `width` pixels; what is left out leaves an ellipsis."""
        done: list[str] = []
        line = ""
        for word in self._pieces(drawable(text), width):
            longer = f"{line} {word}" if line else word
            if self.width(longer) <= width:
                line = longer
                continue
            done.append(line)
            line = word
            if len(done) == lines:
                return [*done[:-1], self._ellipsis(done[-1], width)]
        return [*done, line] if line else done

    def draw(self, canvas: ImageDraw.ImageDraw, at: tuple[float, float], text: str, *, fill: str) -> None:
        """Draw drawable text; `at` is the left end of its baseline."""
        x, y = at
        for run in re.split(f"([ {BOX}])", text):
            if run == BOX:
                left, side = round(x + 1), self._box
                canvas.rectangle((left, round(y) - side, left + side - 1, round(y) - 1), outline=fill)
            elif run and run != " ":
                canvas.text((x, y), run, font=self._font, fill=fill, anchor="ls")
            x += self.width(run)

    def _advance(self, char: str) -> float:
        special = {BOX: self._box + 3, " ": self._space}
        return special[char] if char in special else _advance(self.size, char)

    def _pieces(self, text: str, width: float) -> list[str]:
        """Split into words, and words that are wider than a line into pieces, after a joint if there is one."""
        pieces = []
        for word in text.split():
            piece, used = "", 0.0
            for char in word:
                while piece and used + self._advance(char) > width:
                    joint = max(piece.rfind(mark) for mark in JOINTS) + 1 or len(piece)
                    pieces.append(piece[:joint])
                    piece = piece[joint:]
                    used = self.width(piece)
                piece, used = piece + char, used + self._advance(char)
            pieces.append(piece)
        return pieces

    def _ellipsis(self, line: str, width: float) -> str:
        while line and self.width(line + "…") > width:
            line = line[:-1]
        return line.rstrip(" ,.;:") + "…"


@cache
def face(size: int) -> Face:
    """The face at `size` pixels; made once."""
    return Face(size)


def drawable(text: str) -> str:
    """Reduce text to one line of glyphs that the face has; a box stands for what it lacks."""
    return " ".join("".join(map(_glyphs, text[:LONGEST])).split())


@lru_cache(maxsize=4096)
def _glyphs(char: str) -> str:
    kind = unicodedata.category(char)
    if char.isspace():
        return " "
    if kind in ("Mn", "Me", "Cf", "Cc"):  # accents of their own, joiners, controls: nothing to see
        return ""
    if kind != "Cs" and _has_glyph(char):
        return char
    parts = unicodedata.normalize("NFKD", char)
    plain = STAND_INS.get(char) or "".join(part for part in parts if not unicodedata.combining(part))
    return plain if plain.isascii() and plain.isprintable() else BOX


def _has_glyph(char: str) -> bool:
    font = _font(20)
    return bytes(font.getmask(char)) != bytes(font.getmask("\uffff"))  # U+FFFF is never a character


@lru_cache(maxsize=4096)
def _advance(size: int, char: str) -> float:
    return _font(size).getlength(char)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = cast("ImageFont.FreeTypeFont", ImageFont.load_default(size=size))  # wheels of Pillow carry FreeType
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)  # Raqm is not everywhere, and bytes should agree
