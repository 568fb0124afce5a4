"""One picture measured."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Protocol

from storage.errors import PermanentError
from storage.phash import phash_of
from storage.spec.prompt_syntax import parse

if TYPE_CHECKING:
    from PIL.Image import Image

DIGITS: Final = 6  # after the point: below that, float32 kernels of two CPUs differ


class ScoringFailed(PermanentError):
    """A scorer could not score a picture. Args: its name, the reason."""

    text = "scorer {0}: {1}"


class Scorer(Protocol):
    """A model that gives a picture one number. Used by several threads at once."""

    def score(self, picture: "Image", prompt: str) -> float:
        """The number; whatever the model raises comes out."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a picture."""

    phash: str  # 16 hex digits
    scores: dict[str, float]
    score_s: float  # seconds that the scorers took


def measure(picture: "Image", recipe: Mapping[str, Any], *, scorers: Mapping[str, Scorer]) -> Measured:
    """Measure one picture.

    Args:
        picture: RGB, as whoever reads its file sees it.
        recipe: What it was made by; scorers read its prompt as words.
        scorers: By name.

    Raises:
        ScoringFailed: A scorer raised, or gave no finite number.
    """
    phash, begun = phash_of(picture), time.monotonic()
    prompt = _words(recipe) if scorers else ""
    scores = {name: _score(name, scorers[name], picture, prompt) for name in scorers}
    return Measured(phash, scores, time.monotonic() - begun)


def _score(name: str, scorer: Scorer, picture: "Image", prompt: str) -> float:
    try:
        value = scorer.score(picture, prompt)
    except Exception as error:  # a library's; the picture is to blame, or nobody
        raise ScoringFailed(name, f"{type(error).__name__}: {error}") from error
    if not isfinite(value):
        raise ScoringFailed(name, f"gave {value}, which is no score")
    return round(value, DIGITS) + 0.0  # no -0.0


def _words(recipe: Mapping[str, Any]) -> str:
    """The prompt without the signs that weigh words, where they were read as such."""
    prompt = str(recipe.get("prompt") or "")
    if recipe.get("weighting") != "a1111":
        return prompt
    return " ".join("".join(piece.text for piece in section) for section in parse(prompt))
