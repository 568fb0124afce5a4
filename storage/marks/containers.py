"""What is written beside the pixels of a PNG, JPEG or WebP file, found without a decoder.

The bytes may come from anywhere. Every length is checked against what is there, texts are unpacked up to a cap, and a
file that is cut short or contradicts itself gives what was found until then.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from storage.marks.embed import XMP_KEYWORD
from storage.marks.exif import HEADER

MAX_TEXT: Final = 16 * 2**20  # bytes of one unpacked text
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_APP1, _APP11, _SCAN, _END = 0xE1, 0xEB, 0xDA, 0xD9
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a body


@dataclass(slots=True)
class Beside:
    """The texts of a file; of several of a kind, the first."""

    texts: dict[str, str] = field(default_factory=dict)  # of PNG, by keyword
    exif: bytes | None = None
    xmp: bytes | None = None
    is_signed: bool = False  # it has C2PA credentials, valid or not


def beside_pixels(data: bytes) -> Beside:
    """Find what a file says besides its pixels; nothing in files of other formats."""
    found = Beside()
    for name, body in _blocks(data):
        _TAKERS.get(name, _nothing)(found, body)
    return found


def _blocks(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(_PNG):
        yield from _png(data)
    elif data.startswith(_JPEG):
        yield from _jpeg(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        yield from _webp(data)


def _png(data: bytes) -> Iterator[tuple[str, bytes]]:
    place = len(_PNG)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IEND" or place + 12 + length > len(data):
            return
        if kind != b"IDAT":
            yield f"png {kind.decode('latin-1')}", data[place + 8 : place + 8 + length]
        place += 12 + length


def _jpeg(data: bytes) -> Iterator[tuple[str, bytes]]:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # filling
            place += 1
        elif marker in _BARE:
            place += 2
        else:
            length = int.from_bytes(data[place + 2 : place + 4])
            if marker in (_SCAN, _END) or length < 2 or place + 2 + length > len(data):
                return
            yield f"jpeg {marker:x}", data[place + 4 : place + 2 + length]
            place += 2 + length


def _webp(data: bytes) -> Iterator[tuple[str, bytes]]:
    place = 12
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        if place + 8 + length > len(data):
            return
        yield f"webp {kind.decode('latin-1')}", data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _nothing(found: Beside, body: bytes) -> None:
    pass


def _take_exif(found: Beside, body: bytes) -> None:
    found.exif = body if found.exif is None else found.exif


def _take_xmp(found: Beside, body: bytes) -> None:
    found.xmp = body if found.xmp is None else found.xmp


def _take_credentials(found: Beside, body: bytes) -> None:
    found.is_signed |= b"c2pa" in body


def _take_app1(found: Beside, body: bytes) -> None:
    if body.startswith(HEADER):
        _take_exif(found, body)
    elif body.startswith(_JPEG_XMP):
        _take_xmp(found, body.removeprefix(_JPEG_XMP))


def _take_plain(found: Beside, body: bytes) -> None:
    keyword, _, text = body.partition(b"\0")
    _take_text(found, keyword, text.decode("latin-1"))


def _take_packed(found: Beside, body: bytes) -> None:
    keyword, _, rest = body.partition(b"\0")
    _take_text(found, keyword, _unpacked(rest[1:]).decode("latin-1"))


def _take_international(found: Beside, body: bytes) -> None:
    keyword, _, rest = body.partition(b"\0")
    _, _, after_language = rest[2:].partition(b"\0")
    _, _, raw = after_language.partition(b"\0")
    raw = _unpacked(raw) if rest[:1] == b"\1" else raw
    if keyword == XMP_KEYWORD.encode():
        _take_xmp(found, raw)
    else:
        _take_text(found, keyword, raw.decode(errors="replace"))


def _take_text(found: Beside, keyword: bytes, text: str) -> None:
    found.texts.setdefault(keyword.decode("latin-1"), text)


def _unpacked(raw: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, MAX_TEXT)
    except zlib.error:
        return b""


_TAKERS: Final[dict[str, Callable[[Beside, bytes], None]]] = {
    "png tEXt": _take_plain,
    "png zTXt": _take_packed,
    "png iTXt": _take_international,
    "png eXIf": _take_exif,
    "png caBX": _take_credentials,
    f"jpeg {_APP1:x}": _take_app1,
    f"jpeg {_APP11:x}": _take_credentials,
    "webp EXIF": _take_exif,
    "webp XMP ": _take_xmp,
    "webp C2PA": _take_credentials,
}
