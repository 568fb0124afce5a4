"""How near a picture that was rendered again comes to the stored one, and why no nearer. Pure."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from dispatcher.provenance.pixels import pixel_hash, psnr, read_rgb
from dispatcher.replaying.originals import Original
from storage.errors import BlobMissing
from storage.pictures import NotAPicture

CLOSE_DB: Final = 40.0  # PSNR from which on two pictures count as one to the eye

_UNTOLD: Final = "nothing that is recorded differs: same plan, device and libraries"
_CUT: Final = "; with several pictures a call on several threads, the place in the call counts"


class Grade(StrEnum):
    """What came of rendering a picture again, the best first."""

    A = "A"  # the same pixels
    B = "B"  # a PSNR of CLOSE_DB or more
    C = "C"  # the same recipe, and farther away
    D = "D"  # it could not be rendered again


MEANING: Final[Mapping[Grade, str]] = {
    Grade.A: "same pixels",
    Grade.B: f"PSNR of {CLOSE_DB:g} dB or more",
    Grade.C: "same recipe, other pixels",
    Grade.D: "not replayable",
}


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One picture and its grade."""

    name: str
    grade: Grade
    psnr: float | None = None  # dB; infinite for equal pixels, None where nothing can be compared
    reasons: tuple[str, ...] = ()
    picture: bytes | None = field(default=None, repr=False)  # the file that was made anew

    def to_json(self) -> dict[str, Any]:
        """For scripts; JSON has no infinity, and equal pixels have grade A."""
        finite = self.psnr if self.psnr is not None and math.isfinite(self.psnr) else None
        return {"image": self.name, "grade": str(self.grade), "psnr": finite, "reasons": list(self.reasons)}


@dataclass(frozen=True, kw_only=True)
class Anew:
    """A picture that was rendered again."""

    picture: bytes
    pixel_sha256: str | None  # before it was encoded
    plan: Mapping[str, Any]
    environment: Mapping[str, Any]


def not_replayable(original: Original, reason: str) -> Graded:
    """Grade D."""
    return Graded(name=original.name, grade=Grade.D, reasons=(reason,))


def grade(original: Original, anew: Anew) -> Graded:
    """Hold the stored file, not what is recorded of it, against the new one. Raises StoreAway."""
    changes = differences(original, anew)
    try:
        stored = original.load()
        old = read_rgb(stored)
    except (BlobMissing, NotAPicture) as error:
        what = "it is gone" if isinstance(error, BlobMissing) else "it cannot be read as a picture"
        reason = f"the stored file is not what was recorded: {what}{_recorded(original, anew)}"
        return Graded(name=original.name, grade=Grade.C, reasons=(reason, *changes), picture=anew.picture)
    found = psnr(old, read_rgb(anew.picture))
    if found == math.inf:
        return Graded(name=original.name, grade=Grade.A, psnr=found, picture=anew.picture)
    reasons = list(changes)
    if original.sha256 is not None and hashlib.sha256(stored).hexdigest() != original.sha256:
        reasons.insert(0, f"the stored file is not what was recorded{_recorded(original, anew)}")
    if found is None:
        reasons.append(f"the stored picture is {old.width}x{old.height}")
    better = Grade.B if found is not None and found >= CLOSE_DB else Grade.C
    said = tuple(reasons) or (_UNTOLD + (_CUT if original.plan.cuts_pictures else ""),)
    return Graded(name=original.name, grade=better, psnr=found, reasons=said, picture=anew.picture)


def differences(original: Original, anew: Anew) -> list[str]:
    """What decides the low bits and is not as it was: plan, device, library versions."""
    pairs: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("plan ", original.plan.model_dump(), anew.plan), ("", original.environment, anew.environment),
    ]  # fmt: skip
    return [
        f"{word}{key} {before[key]} -> {now.get(key)}"
        for word, before, now in pairs
        for key in before
        if before[key] != now.get(key)
    ]


def counts(graded: Sequence[Graded]) -> dict[Grade, int]:
    """How many there are of each grade."""
    found = Counter(one.grade for one in graded)
    return {grade: found[grade] for grade in Grade}


def reasons(graded: Sequence[Graded]) -> list[tuple[Grade, str, int]]:
    """Why pictures are no A, each reason with how many of a grade it is said of; the worst grade first."""
    found = Counter((one.grade, reason) for one in graded for reason in one.reasons)
    return [(grade, reason, times) for (grade, reason), times in sorted(found.items(), key=_worst_first)]


def worst_psnr(graded: Sequence[Graded]) -> float | None:
    """The lowest PSNR of all that could be compared; infinite where all are equal, None where nothing could be."""
    return min((one.psnr for one in graded if one.psnr is not None), default=None)


def is_worse(one: Grade, bound: Grade) -> bool:
    """Whether a grade is below another."""
    return one.value > bound.value


def same_pixels(original: Original, anew: Anew) -> bool:
    """Whether the new picture has the pixels that were recorded, whatever lies in the store."""
    return original.pixel_sha256 is not None and original.pixel_sha256 == (
        anew.pixel_sha256 or pixel_hash(read_rgb(anew.picture))
    )


def _recorded(original: Original, anew: Anew) -> str:
    return "; rendered again, it has the recorded pixels" if same_pixels(original, anew) else ""


def _worst_first(entry: tuple[tuple[Grade, str], int]) -> tuple[int, int, str]:
    (found, reason), times = entry
    return -ord(found.value), -times, reason
