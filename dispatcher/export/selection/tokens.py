"""From the text of `--where` to its words. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from storage.errors import InvalidSpec

OPTION: Final = "--where"
MAX_LENGTH: Final = 4096  # characters
_WORD: Final = re.compile(
    r"""\s*(?:
        (?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d{1,3})?)(?![\w.])
      | (?P<name>[A-Za-z_]\w*)
      | (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<sign><=|>=|<>|!=|==|=|<|>|\(|\)|,|\.)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word and where it stands."""

    kind: Literal["number", "name", "text", "quoted", "sign", "end"]
    text: str  # of a text in quotes: what it means
    at: int  # characters before it


def refusal(text: str, at: int, rule: str) -> InvalidSpec:
    """Word what is wrong with an expression, and where."""
    return InvalidSpec(OPTION, text, f"{rule}, at character {at + 1}")


def tokenize(text: str) -> list[Token]:
    """Cut an expression into words; the last one is the end. Raises InvalidSpec."""
    if len(text) > MAX_LENGTH:
        raise InvalidSpec(OPTION, text, f"must be of at most {MAX_LENGTH} characters")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidSpec(OPTION, text, "must not hold NUL characters or halves of surrogate pairs")
    found, at = [], 0
    while text[at:].strip():
        word = _WORD.match(text, at)
        if word is None or word.lastgroup is None:
            raise _unreadable(text, at)
        kind = word.lastgroup
        found.append(Token(kind, _meaning(kind, word[kind]), word.start(kind)))  # type: ignore[arg-type]
        at = word.end()
    return [*found, Token("end", "", len(text))]


def _meaning(kind: str, word: str) -> str:
    if kind == "text":
        return word[1:-1].replace("''", "'")
    return word[1:-1].replace('""', '"') if kind == "quoted" else word


def _unreadable(text: str, at: int) -> InvalidSpec:
    at += len(text[at:]) - len(text[at:].lstrip())
    if text[at] in "'\"":
        return refusal(text, at, f"a quote {text[at]} that is never closed; write '' for one inside a text")
    return refusal(text, at, f"cannot read {text[at : at + 12]!r}; write texts in single quotes")
