"""In which split an image stands: by a hash, so that it stays there however much the job grows. Pure.

By image, the hash is of the recipe: the same picture in two jobs stands in one split. By prompt, all images of one
prompt stand together, so that a test split holds prompts that no training image has.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final, Literal

from storage.errors import InvalidSpec

By = Literal["image", "prompt"]
DEFAULT: Final = "train"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAKEN: Final = frozenset({"rejected", "all"})
_SPACE: Final = 2**64


@dataclass(frozen=True, slots=True)
class Splits:
    """Names and shares, which add up to 1."""

    shares: Sequence[tuple[str, Fraction]] = ((DEFAULT, Fraction(1)),)
    by: By = "image"

    def of(self, *, recipe_hash: str, prompt: str | None) -> str:
        """The split of an image."""
        if len(self.shares) == 1:
            return self.shares[0][0]
        key = f"recipe:{recipe_hash}" if self.by == "image" else f"prompt:{prompt or ''}"
        place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
        edge = Fraction(0)
        for name, share in self.shares:
            edge += share
            if place < edge * _SPACE:
                return name
        return self.shares[-1][0]


def parse_splits(text: str, *, by: By) -> Splits:
    """Read `train=0.9,test=0.1`. Raises InvalidSpec."""
    shares: list[tuple[str, Fraction]] = []
    for part in text.split(","):
        name, equals, share = (word.strip() for word in part.partition("="))
        if not equals or not _NAME.fullmatch(name) or name in _TAKEN or name in dict(shares):
            raise InvalidSpec("--split", text, "must be NAME=SHARE,... such as train=0.9,test=0.1, each name once")
        shares.append((name, _share(text, share)))
    total = sum(share for _, share in shares)
    if total != 1:
        raise InvalidSpec("--split", text, f"shares must add up to 1, and these give {float(total):g}")
    return Splits(tuple(shares), by)


def _share(text: str, share: str) -> Fraction:
    try:
        value = Fraction(Decimal(share)) if len(share) <= 20 else Fraction(-1)
    except (InvalidOperation, ValueError, OverflowError):
        value = Fraction(-1)
    if not 0 < value <= 1:
        raise InvalidSpec("--split", text, "each share must be in (0, 1]")
    return value
