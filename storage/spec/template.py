"""Templates of prompts: text with {names}, {inline|alternatives} and __wildcards__. All pure.

A name stands for a list in the job file, a wildcard for a file of words. Which of them a template has is told by its
text alone; `__x__` is a wildcard only where the job has words for it, and text otherwise, as it is beside an {x}.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

CHOICE: Final = "choice_"  # label of inline alternatives: choice_1, choice_2, ...
_MARKED: Final = r"__(?=[^\s_])([^\s{}]*?[^\s_{}])__(?!_)"
_PIECES: Final = re.compile(rf"\{{\{{|\}}\}}|\{{|\}}|{_MARKED}")
_LINE_PIECES: Final = re.compile(rf"\{{[^{{}}]*\|[^{{}}]*\}}|{_MARKED}")
_WILDCARD: Final = re.compile(r"\w[\w-]*(?:/\w[\w-]*)*")
_OTHER_SYNTAX: Final = ("$$", "::", "${")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a template."""

    text: str  # what stands there where nothing takes its place
    name: str | None = None  # of what takes its place
    alternatives: tuple[str, ...] = ()
    is_wildcard: bool = False


@lru_cache(maxsize=256)
def parse_template(template: str) -> tuple[Piece, ...]:
    """The pieces of a template. Raises ValueError with the rule that it breaks."""
    pieces: list[Piece] = []
    choices = at = 0
    while at < len(template):
        found = _PIECES.search(template, at)
        if found is None:
            break
        pieces.append(Piece(template[at : found.start()]))
        at = found.end()
        match found[0]:
            case "{{" | "}}":
                pieces.append(Piece(found[0][0]))
            case "}":
                raise ValueError("Single '}' encountered in format string; write }} for a brace that should stay")
            case "{":
                end = _closing(template, at)
                piece = _braced(template[at:end], choices + 1)
                choices += bool(piece.alternatives)
                pieces.append(piece)
                at = end + 1
            case text:
                pieces.append(Piece(text, name=found[1], is_wildcard=True))
    braced = {piece.name for piece in pieces if not piece.is_wildcard}
    hidden = (replace(piece, name=None) if piece.is_wildcard and piece.name in braced else piece for piece in pieces)
    return (*hidden, Piece(template[at:]))


def render(template: str, chosen: Mapping[str, str]) -> str:
    """The text of a template with what was chosen for each name."""
    return "".join(
        piece.text if piece.name is None else chosen.get(piece.name, piece.text) for piece in parse_template(template)
    )


def is_wildcard_name(name: str) -> bool:
    """Whether a name can be that of a file of words: words joined by slashes, never out of the folder."""
    return _WILDCARD.fullmatch(name) is not None


def parse_line(line: str) -> Iterator[Piece]:
    """The pieces of a line of a wildcard file, which knows no names. Raises ValueError."""
    at = 0
    for found in _LINE_PIECES.finditer(line):
        yield Piece(line[at : found.start()])
        if found[1] is None:
            yield Piece(found[0], alternatives=_alternatives(found[0][1:-1]))
        else:
            yield Piece(found[0], name=found[1], is_wildcard=True)
        at = found.end()
    yield Piece(line[at:])


def _braced(inside: str, number: int) -> Piece:
    if "|" in inside:
        return Piece(f"{{{inside}}}", name=f"{CHOICE}{number}", alternatives=_alternatives(inside))
    if not inside.isidentifier():
        rule = "must be a plain name; write {{ and }} for braces that should stay, {a|b} for alternatives"
        raise ValueError(f"{{{inside}}} {rule}")
    return Piece(f"{{{inside}}}", name=inside)


def _alternatives(inside: str) -> tuple[str, ...]:
    for sign in _OTHER_SYNTAX:
        if sign in inside:
            raise ValueError(f"{{{inside}}} must be alternatives such as {{a|b}}; {sign} is not read here")
    if "{" in inside:
        raise ValueError(f"{{{inside}}} must not hold braces; give the inner ones a name and a list under values")
    return tuple(inside.split("|"))


def _closing(text: str, start: int) -> int:
    end = text.find("}", start)
    if end < 0:
        raise ValueError("expected '}' before end of string")
    return end
