"""Text of users in Markdown: one line, cut, and nothing in it means anything. Pure."""

import re
from collections.abc import Sequence
from typing import Final

CUT: Final = 120  # characters of a prompt in a table
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]#|<>~$&@^])")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "&#96;", "$": "&#36;"}


def cell(text: str | None, *, limit: int = CUT) -> str:
    """Text for a cell of a table, or for the middle of a sentence.

    Line ends and characters that steer a terminal or turn text around become spaces. What Markdown or HTML would read
    is escaped, pipes and backticks as entities, since not every reader of tables knows the backslash.
    """
    if text is None:
        return "*none*"
    plain = line(text, limit=limit)
    return _SPECIAL.sub(_escaped, plain) if plain else "*empty*"


def line(text: str, *, limit: int = CUT) -> str:
    """Text on one line, cut to so many characters; not escaped."""
    head = text[: 4 * limit]  # a prompt of megabytes is cut before anything reads all of it
    plain = " ".join(_CONTROL.sub(" ", head).split())
    return plain if len(plain) <= limit and len(head) == len(text) else plain[: limit - 1].rstrip() + "…"


def code(text: str, *, limit: int = CUT) -> str:
    """Text of names and numbers as code: what would end the code or the cell is left out."""
    return f"`{line(text, limit=limit).replace('`', ' ').replace('|', ' ')}`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 0) -> str:
    """A Markdown table of finished cells; the last `right` columns hold numbers."""
    marks = ["---"] * (len(head) - right) + ["---:"] * right
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def number(value: int) -> str:
    """A count as people read it."""
    return f"{value:,}"


def percent(part: int, whole: int) -> str:
    """A share in percent; what is small but there is not called nothing."""
    if not whole or not part:
        return "0 %"
    share = 100 * part / whole
    return "< 0.1 %" if share < 0.1 else f"{share:.1f} %"


def _escaped(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0], "\\" + found[0])
