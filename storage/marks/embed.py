"""From pixels to a file that tells how it came to be.

The same arguments give the same bytes with one Pillow, which is how a copy is told from a change.

             our record                  A1111 text            XMP
    PNG      iTXt "seedfarm"             tEXt "parameters" *   iTXt "XML:com.adobe.xmp"
    JPEG     in the XMP                  EXIF UserComment      APP1
    WebP     in the XMP                  EXIF UserComment      chunk "XMP "

    * iTXt where Latin-1 does not hold it
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from storage.marks.exif import HEADER, user_comment
from storage.marks.infotext import infotext_of
from storage.marks.record import NONE, Marks, record_of, spell
from storage.marks.xmp import packet
from storage.spec.encoding import Encoding

KEYWORD: Final = "seedfarm"
PARAMETERS: Final = "parameters"  # where A1111 and its readers look
XMP_KEYWORD: Final = "XML:com.adobe.xmp"
_RLE: Final = 3  # zlib's Z_RLE: three times as fast as the default for 5-7 % more bytes
_SEGMENT: Final = 65_533  # bytes that a JPEG segment holds
_XMP_ROOM: Final = _SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")


def encode(picture: Image.Image, encoding: Encoding, *, marks: Marks | None) -> bytes:
    """A picture as a file.

    A JPEG segment holds 64 KB. What is too long for one is left out, least first: the A1111 text; the prompt of the
    XMP, which the record has too; the record's prompts, which then says `"left_out": "prompts"`; all of the record
    but the recipe's hash. PNG and WebP have no such limit.

    Args:
        picture: RGB.
        encoding: Format and quality.
        marks: What the file is to tell; None, or level none: nothing.

    Raises:
        OSError: The format cannot hold the picture, such as a WebP of more than 16383 pixels a side.
    """
    told = None if marks is None or marks.level == NONE else marks
    if picture.info:  # left by the file that it came from; Pillow would write some of it
        picture = picture.copy()
        picture.info = {}
    data = io.BytesIO()
    _SAVERS[encoding.format](picture, data, encoding, told)
    return data.getvalue()


def pixel_sha256(picture: Image.Image) -> str:
    """Hash of size and RGB bytes: equal pictures have one, however they were encoded."""
    return hashlib.sha256(f"{picture.width}x{picture.height}:".encode() + picture.tobytes()).hexdigest()


def _save_png(picture: Image.Image, data: io.BytesIO, encoding: Encoding, marks: Marks | None) -> None:
    text = PngInfo()
    if marks is not None and (record := record_of(marks, encoding)) is not None:
        text.add_itxt(KEYWORD, spell(record))
        if (infotext := infotext_of(marks)) is not None:
            text.add_text(PARAMETERS, infotext)
        text.add_itxt(XMP_KEYWORD, packet(marks))
    picture.save(data, "PNG", compress_level=1, compress_type=_RLE, pnginfo=text)


def _save_jpeg(picture: Image.Image, data: io.BytesIO, encoding: Encoding, marks: Marks | None) -> None:
    said: dict[str, bytes] = {}
    if marks is not None:
        said["xmp"] = next(each for each in _packets(marks, encoding) if len(each) <= _XMP_ROOM)
        infotext = infotext_of(marks)
        if infotext is not None and len(block := HEADER + user_comment(infotext)) <= _SEGMENT:
            said["exif"] = block
    picture.save(data, "JPEG", quality=_quality(encoding), subsampling="4:4:4", **said)


def _save_webp(picture: Image.Image, data: io.BytesIO, encoding: Encoding, marks: Marks | None) -> None:
    said: dict[str, Any] = (
        {"lossless": True} if encoding.lossless else {"quality": encoding.quality or encoding.kind.quality}
    )
    if marks is not None:
        said["xmp"] = next(_packets(marks, encoding))
        if (infotext := infotext_of(marks)) is not None:
            said["exif"] = user_comment(infotext)
    picture.save(data, "WEBP", **said)


def _quality(encoding: Encoding) -> int | None:
    return encoding.quality or encoding.kind.quality


def _packets(marks: Marks, encoding: Encoding) -> Iterator[bytes]:
    """XMP that carries the record, the fullest first."""
    record = record_of(marks, encoding)
    assert record is not None
    yield packet(marks, record=spell(record))
    yield packet(marks, record=spell(record), prompts=False)
    if marks.discloses:
        withheld = record_of(replace(marks, prompts=False), encoding)
        yield packet(marks, record=spell({**(withheld or {}), "left_out": "prompts"}), prompts=False)
    least = record_of(replace(marks, level="minimal"), encoding)
    yield packet(marks, record=spell({**(least or {}), "left_out": "recipe"}), prompts=False)


_SAVERS: Final = {"png": _save_png, "jpeg": _save_jpeg, "webp": _save_webp}
