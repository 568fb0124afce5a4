"""What the farm knows of a picture file beside what the file says, and whether both agree."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dispatcher.farm import Farm
from dispatcher.provenance.document import provenance
from dispatcher.provenance.finding import Candidate, Finding, find_file
from dispatcher.provenance.rows import image_id
from storage.sql import images, jobs

_WORDS: Final = {
    "file": "the same file", "pixels": "the same pixels in another file",
    "record": "what the file says of itself, and it looks like it",
    "looks": "what it looks like: bits of the perceptual hash that differ",
}  # fmt: skip
_UNPROVEN: Final = "what the file says of itself, and nothing else: it is not known to look like it"


@dataclass(frozen=True, kw_only=True)
class Told:
    """One answer."""

    document: dict[str, Any]
    stored: str | None  # key of the image that was found


def tell(farm: Farm, file: Path) -> Told:
    """Find a picture file's image and say all that is known of both.

    Raises:
        UnreadableFile: It is no picture.
        UnknownName: The image was removed just now.
        DatabaseAway: SQL does not answer.
    """
    finding = find_file(farm, file)
    if not finding.candidates:
        nothing = {"found": None, "file_says": finding.said.to_json(), "agrees": None}
        return Told(document={**nothing, "unmeasured": finding.unmeasured}, stored=None)
    first = finding.candidates[0]
    with farm.database.read() as connection:
        row = jobs.get(connection, first.job)
        image = images.get(connection, first.job, first.number)
    document = {
        "found": {
            "by": finding.by, "means": _UNPROVEN if _is_unproven(finding) else _WORDS[str(finding.by)],
            "image_id": image_id(first.job, first.number),
            "candidates": [_shown(one) for one in finding.candidates],
        },
        "file_says": finding.said.to_json(),
        "agrees": _agrees(finding, None if image is None else image.recipe_hash),
        "unmeasured": finding.unmeasured,
        "image": provenance(farm, row, first.number),
    }  # fmt: skip
    return Told(document=document, stored=None if image is None else image.key)


def _agrees(finding: Finding, recipe_hash: str | None) -> bool | None:
    """Whether the file's own record is of the recipe that was found; None where it has none, or led there alone."""
    told = finding.said.recipe_hash
    return None if told is None or _is_unproven(finding) else told == recipe_hash


def _is_unproven(finding: Finding) -> bool:
    """Whether nothing but the file's own word leads to the image."""
    return finding.by == "record" and not finding.candidates[0].is_alike


def _shown(one: Candidate) -> dict[str, Any]:
    distance = {} if one.distance is None else {"distance": one.distance}
    return {"image_id": image_id(one.job, one.number), **distance}
