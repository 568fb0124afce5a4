r"""The weight syntax of prompts that AUTOMATIC1111's web UI made common, read without a tokenizer or torch.

    (x)  1.1 times    [x]  1/1.1 times    (x:1.3)  1.3 times    \( \) \[ \] \\  the sign itself    BREAK  a new window

Brackets nest and their factors multiply. Round and square ones are paired apart from each other, so `(a [b) c]` is
fine. Every text can be read: a bracket that is never closed reaches to the end of the text, as if closed there; a
closing one without an opening one is a sign like any other, and so is `:1.3)` outside of round brackets. A backslash
before anything else is dropped. Numbers below zero and zero itself are taken as written. The same page's
`[from:to:when]`, `[a|b]` and `AND` are another language, which is not read here.

Source: `modules/prompt_parser.py` of AUTOMATIC1111/stable-diffusion-webui. It differs in three things: a number that
is none (`(x:1.2.3)`) is text instead of a crash, BREAK also works inside brackets, and weights end at WEIGHT_LIMIT.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

WEIGHT_LIMIT: Final = 1000.0  # beyond it half precision overflows, whatever the prompt
_FACTORS: Final = {"(": 1.1, "[": 1 / 1.1}
_CLOSING: Final = {")": "(", "]": "["}
_MARK: Final = re.compile(
    r"""\\(?P<escaped>[()\[\]\\]?)
    | (?P<opening>[(\[])
    | :\s*(?P<weight>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))\s*\)
    | (?P<closing>[)\]])
    | (?P<plain>[^()\[\]\\:]+|:)""",
    re.VERBOSE,
)
_BREAK: Final = re.compile(r"(?<!\s)\s*\bBREAK\b\s*")  # looks at each run of spaces once
_LORA: Final = re.compile(r"<lora:(?P<name>[^:<>]+)(?::(?P<scale>[^:<>]*)[^<>]*)?>")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a prompt that has one weight."""

    text: str
    weight: float = 1.0  # in [-WEIGHT_LIMIT, WEIGHT_LIMIT]


@dataclass(frozen=True, slots=True)
class LoraTag:
    """A `<lora:name:scale>` in a prompt, which this farm takes as text: LoRAs are a key of the job."""

    text: str
    name: str
    scale: float = 1.0


def parse(text: str) -> list[list[Piece]]:
    """Read a prompt with weights; any text can be read.

    Returns:
        The sections that BREAK divides, at least one, each of at least one piece. Neighbours differ in weight.
    """
    marks = list(_MARK.finditer(text))
    factors, closings = _pair(marks)
    products = {"(": [1.0], "[": [1.0]}
    sections: list[list[Piece]] = [[]]
    for place, mark in enumerate(marks):
        if place in factors:
            stack = products[mark["opening"]]
            stack.append(_limited(stack[-1] * factors[place]))
        elif place in closings:
            products[_closed_by(mark)].pop()
        else:
            weight = _limited(products["("][-1] * products["["][-1])
            first, *others = [mark["escaped"]] if mark["escaped"] is not None else _BREAK.split(mark[0])
            sections[-1].append(Piece(first, weight))
            sections += [[Piece(other, weight)] for other in others]
    return [_joined(section) for section in sections]


def has_weights(text: str) -> bool:
    """Whether a prompt was surely written for weights: `(x:1.3)`, or nested brackets.

    A single `(x)` does not count, though it weighs: ordinary writing has it too.
    """
    marks = list(_MARK.finditer(text))
    _, closings = _pair(marks)
    ordinary = {1.0, *_FACTORS.values()}
    return any(marks[place]["weight"] is not None for place in closings) or any(
        piece.weight not in ordinary for section in parse(text) for piece in section
    )


def find_lora_tags(text: str) -> list[LoraTag]:
    """The `<lora:name>` and `<lora:name:scale>` of a prompt, in order; a scale that is no number reads as 1."""
    return [LoraTag(tag[0], tag["name"], _scale(tag["scale"])) for tag in _LORA.finditer(text)]


def _pair(marks: Sequence[re.Match[str]]) -> tuple[dict[int, float], set[int]]:
    """The factor of each opening bracket and the closing ones that have a partner, both by place."""
    factors: dict[int, float] = {}
    closings: set[int] = set()
    waiting: dict[str, list[int]] = {"(": [], "[": []}
    for place, mark in enumerate(marks):
        if mark["opening"]:
            waiting[mark["opening"]].append(place)
            factors[place] = _FACTORS[mark["opening"]]
        elif (mark["closing"] or mark["weight"]) and waiting[_closed_by(mark)]:
            partner = waiting[_closed_by(mark)].pop()
            closings.add(place)
            if mark["weight"]:
                factors[partner] = float(mark["weight"])
    return factors, closings


def _closed_by(mark: re.Match[str]) -> str:
    return _CLOSING[mark[0][-1]]


def _joined(section: Sequence[Piece]) -> list[Piece]:
    runs = groupby((piece for piece in section if piece.text), attrgetter("weight"))
    return [Piece("".join(piece.text for piece in run), weight) for weight, run in runs] or [Piece("")]


def _limited(weight: float) -> float:
    return max(-WEIGHT_LIMIT, min(WEIGHT_LIMIT, weight))


def _scale(written: str | None) -> float:
    try:
        return float(written) if written else 1.0
    except ValueError:
        return 1.0
