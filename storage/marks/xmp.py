"""The XMP packet of a file: the mark that the law and the platforms look for, machine-readable, in every format.

IPTC's DigitalSourceType says that the picture came out of a trained model, or that a model painted over another
picture. At level full the packet names the system and, where prompts are disclosed, the prompt (IPTC Extension 2025.1).
In files that have no place of their own for our record it is a property here.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

from storage.marks.infotext import NEGATIVE
from storage.marks.record import FULL, SOFTWARE, Marks, software_version
from storage.spec.fields import TEXT_TO_IMAGE, UNCONDITIONAL

IPTC: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
OURS: Final = "urn:seedfarm:marks:"
RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED: Final = SOURCE_TYPES + "trainedAlgorithmicMedia"
COMPOSITE: Final = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
_BEGIN: Final = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END: Final = '<?xpacket end="r"?>'
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def source_type(recipe: Mapping[str, Any]) -> str:
    """The IPTC term for how a picture was made: composite where it started from another picture."""
    return TRAINED if recipe["mode"] in (TEXT_TO_IMAGE, UNCONDITIONAL) else COMPOSITE


def packet(marks: Marks, *, record: str | None = None, prompts: bool = True) -> bytes:
    """The packet of a file, UTF-8.

    Args:
        marks: Of a level other than none.
        record: Our JSON, where the packet is to carry it.
        prompts: Whether there is room for them.
    """
    said = [("Iptc4xmpExt:DigitalSourceType", source_type(marks.recipe))]
    if marks.level == FULL:
        said.append(("Iptc4xmpExt:AISystemUsed", SOFTWARE))
        said.append(("Iptc4xmpExt:AISystemVersionUsed", software_version()))
    if prompts and marks.discloses and (text := _prompts(marks.recipe)):
        said.append(("Iptc4xmpExt:AIPromptInformation", text))
    if record is not None:
        said.append(("seedfarm:record", _json_text(record)))
    body = "".join(f"<{name}>{_xml_text(value)}</{name}>" for name, value in said)
    return (
        f'{_BEGIN}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" '
        f'xmlns:Iptc4xmpExt="{IPTC}" xmlns:seedfarm="{OURS}">{body}</rdf:Description></rdf:RDF></x:xmpmeta>{_END}'
    ).encode()


def _prompts(recipe: Mapping[str, Any]) -> str:
    prompt, negative = recipe.get("prompt") or "", recipe.get("negative_prompt")
    return f"{prompt}\n{NEGATIVE} {negative}" if negative else prompt


def _json_text(text: str) -> str:
    """JSON without characters that XML cannot hold: JSON can spell them."""
    return _NO_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _xml_text(text: str) -> str:
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text), {"\r": "&#13;"})
