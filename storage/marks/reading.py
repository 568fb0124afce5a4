"""What the marks of a picture file say, whoever sent the file. Nothing here proves that they are true.

Files of any age: those from before there were levels have our JSON alone.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

from storage.marks.containers import MAX_TEXT, beside_pixels
from storage.marks.embed import KEYWORD, PARAMETERS
from storage.marks.exif import read_user_comment
from storage.marks.xmp import IPTC, OURS, RDF
from storage.spec.canonical import canonical

_SOURCE: Final = f"{{{IPTC}}}DigitalSourceType"
_RECORD: Final = f"{{{OURS}}}record"
_HASH: Final = re.compile(r"[0-9a-f]{64}")  # as `storage.spec.canonical.digest` gives it
_PROMPT: Final = f"{{{IPTC}}}AIPromptInformation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What stands in a file; None where it says nothing, or nothing that can be read."""

    record: dict[str, Any] | None = None  # ours, see storage.marks.record; its schema is not checked
    infotext: str | None = None  # as A1111 and its like write it
    source_type: str | None = None  # IPTC's term, such as "trainedAlgorithmicMedia"
    prompt: str | None = None  # of the XMP
    is_signed: bool = False  # it has C2PA credentials; whether they hold is not looked at

    @property
    def recipe_hash(self) -> str | None:
        """The hash of the recipe, where the record says one."""
        said = None if self.record is None else self.record.get("recipe_hash")
        return said if isinstance(said, str) and _HASH.fullmatch(said) else None


def read(data: bytes) -> Found:
    """Read the marks in a file's bytes. Never raises: a file of another format, or a broken one, says nothing."""
    beside = beside_pixels(data)
    xmp = {} if beside.xmp is None else _properties(beside.xmp)
    comment = None if beside.exif is None else read_user_comment(beside.exif)
    source = xmp.get(_SOURCE)
    return Found(
        record=_record(beside.texts.get(KEYWORD) or xmp.get(_RECORD)),
        infotext=beside.texts.get(PARAMETERS) or comment,
        source_type=None if source is None else source.rstrip("/").rpartition("/")[2],
        prompt=xmp.get(_PROMPT),
        is_signed=beside.is_signed,
    )


def _record(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        said = json.loads(text, parse_constant=_refuse)
        canonical(said)  # half a surrogate pair or 1e999 is read without a word, and has no hash
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _refuse(name: str) -> None:
    raise ValueError(name)


def _properties(raw: bytes) -> dict[str, str]:
    """The plain properties of an XMP packet, by qualified name: elements, or attributes as other writers have them."""
    text = raw[:MAX_TEXT].decode(errors="replace").strip("\ufeff\0 \r\n\t")
    if "<!DOCTYPE" in text:  # no XMP has one, and entities can grow without end
        return {}
    try:
        tree = ElementTree.fromstring(text)  # noqa: S314  # without a DOCTYPE there is nothing to expand
    except (ElementTree.ParseError, ValueError):
        return {}
    found: dict[str, str] = {}
    for described in tree.iter(f"{{{RDF}}}Description"):
        said = {**described.attrib, **{child.tag: child.text or "" for child in described}}
        found = {**said, **found}
    return found
