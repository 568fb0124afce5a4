"""What a check of SQL against the store can find wrong."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dispatcher.provenance.rows import image_id
from storage.spec.number import show_number


class Wrong(StrEnum):
    """Kinds of problems."""

    MISSING = "missing"  # an image whose object is not there
    SIZE = "size"  # an object of other bytes than recorded, by its size
    HASH = "hash"  # likewise, by its SHA-256
    PREVIEW = "preview"  # a strip of steps that is not there
    MANIFEST = "manifest"  # a manifest that counts and is not there
    NOTE = "note"  # a note that should be there
    SPEC = "spec"  # a frozen spec that is not there, or is another one
    COUNTER = "counter"  # a job's counter that differs from its rows
    GAP = "gap"  # images that no row and no chunk speaks of
    UNKNOWN_JOB = "unknown job"  # in the store only
    STRANGER = "stranger"  # an object that no part of the farm put there


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong."""

    kind: Wrong
    detail: str
    job: str | None = None
    number: int | None = None  # of the image
    key: str | None = None
    repaired: str | None = None  # what was done about it; None: nothing

    def __str__(self) -> str:
        where = "" if self.job is None else f" job {self.job}"
        where += "" if self.number is None else f" image {show_number(self.number)}"
        done = "" if self.repaired is None else f"; repaired: {self.repaired}"
        return f"{self.kind}:{where} {self.detail}{done}"

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        of_image = self.job is not None and self.number is not None
        return {
            "kind": str(self.kind), "job": self.job,
            "image_id": image_id(str(self.job), self.number or 0) if of_image else None,
            "key": self.key, "detail": self.detail, "repaired": self.repaired,
        }  # fmt: skip
