"""What can be said about a digit: the palette, the attributes, the prompts.

Pure Python, so that the data, the trainer and the evaluation share one list of words
and none of them can drift from it. Colours are chosen far apart: guidance pushes a
picture past its target, and an ink halfway between two others would tip over.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

INKS = {  # sRGB, 0..255
    "red": (222, 16, 36),
    "green": (16, 168, 60),
    "blue": (24, 84, 246),
    "yellow": (255, 238, 20),
    "orange": (255, 128, 0),
    "purple": (172, 28, 214),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
GROUNDS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "navy": (12, 22, 84),
}
# Too little contrast to read a digit by.
UNREADABLE = {
    ("white", "white"),
    ("yellow", "white"),
    ("black", "black"),
    ("black", "navy"),
    ("blue", "navy"),
    ("purple", "navy"),
}
PAIRS = tuple((ink, ground) for ink in INKS for ground in GROUNDS if (ink, ground) not in UNREADABLE)

# The empty word is the middle of each range; in a prompt it also stands for "not said".
SIZES = ("small", "", "big")
STROKES = ("thin", "", "thick")
TILTS = ("tilted left", "", "tilted right")

NUMERALS = tuple("0123456789")
WORDS = tuple(
    dict.fromkeys(["a", "an", "on", "tilted", "left", "right", *DIGITS, *NUMERALS, *INKS, *GROUNDS])
    | dict.fromkeys(word for word in (*SIZES, *STROKES) if word)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """One digit with every attribute named; "" is the middle value."""

    digit: int
    ink: str
    ground: str
    size: str = ""
    stroke: str = ""
    tilt: str = ""


def random_style(rng: random.Random) -> Style:
    """Draw a style: digits, colour pairs, sizes, strokes and tilts each uniform."""
    ink, ground = rng.choice(PAIRS)
    return Style(
        digit=rng.randrange(10),
        ink=ink,
        ground=ground,
        size=rng.choice(SIZES),
        stroke=rng.choice(STROKES),
        tilt=rng.choice(TILTS),
    )


def phrase(style: Style, *, numeral: bool = False) -> str:
    """Say a style as a prompt: "a big thick red seven tilted left on white".

    Empty attributes are left out, an empty ground loses its "on" too.
    """
    noun = NUMERALS[style.digit] if numeral else DIGITS[style.digit]
    words = [word for word in (style.size, style.stroke, style.ink, noun, style.tilt) if word]
    article = "an" if words[0][0] in "aeio8" else "a"
    ground = ["on", style.ground] if style.ground else []
    return " ".join([article, *words, *ground])


def styles(seed: int) -> Iterator[Style]:
    """Styles without end, always the same for a seed."""
    rng = random.Random(seed)
    while True:
        yield random_style(rng)
