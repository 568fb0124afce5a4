"""The one EXIF field that image tools read a text from: UserComment.

Written as piexif writes it, which is what readers were made for: a big-endian block, the text in UTF-16BE. (Readers
that guess have taken a little-endian block for scrambled text.) Reading takes either order.
"""

import struct
from typing import Final

HEADER: Final = b"Exif\0\0"  # before the block in JPEG
_EXIF_IFD, _VERSION, _USER_COMMENT = 0x8769, 0x9000, 0x9286
_LONG, _UNDEFINED = 4, 7
_UNICODE: Final = b"UNICODE\0"
_ASCII: Final = b"ASCII\0\0\0"
_ENTRY: Final = 12  # bytes
_MOST: Final = 1000  # entries of a directory; cameras write some dozens


def user_comment(text: str) -> bytes:
    """An EXIF block with that text, without the header that JPEG puts before it."""
    comment = _UNICODE + text.encode("utf-16-be")
    first, second, end = 8, 26, 56  # where the two directories and the text begin
    return (
        struct.pack(">2sHI", b"MM", 42, first)
        + struct.pack(">HHHIII", 1, _EXIF_IFD, _LONG, 1, second, 0)
        + struct.pack(">HHHI4s", 2, _VERSION, _UNDEFINED, 4, b"0232")
        + struct.pack(">HHIII", _USER_COMMENT, _UNDEFINED, len(comment), end, 0)
        + comment
    )


def read_user_comment(block: bytes) -> str | None:
    """The text in an EXIF block, with or without JPEG's header; None where there is none that can be read."""
    data = block.removeprefix(HEADER)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return None
    try:
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        below = _entry(data, order, first, tag=_EXIF_IFD)
        found = None if below is None else _entry(data, order, below[1], tag=_USER_COMMENT)
    except struct.error:  # it points past its end
        return None
    if found is None or found[0] <= len(_UNICODE):
        return None
    return _text(data[found[1] : found[1] + found[0]], order)


def _entry(data: bytes, order: str, start: int, *, tag: int) -> tuple[int, int] | None:
    """Count and value of an entry of the directory that begins at `start`."""
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for place in range(min(count, _MOST)):
        name, _, size, value = struct.unpack_from(f"{order}HHII", data, start + 2 + place * _ENTRY)
        if name == tag:
            return size, value
    return None


def _text(comment: bytes, order: str) -> str | None:
    code, raw = comment[:8], comment[8:]
    if code == _ASCII:
        return raw.decode("ascii", "replace")
    if code != _UNICODE:
        return None
    zeros_first, zeros_second = raw[::2].count(0), raw[1::2].count(0)  # Latin letters have one, on the larger side
    if zeros_first == zeros_second:
        return raw.decode("utf-16-be" if order == ">" else "utf-16-le", "replace")
    return raw.decode("utf-16-be" if zeros_first > zeros_second else "utf-16-le", "replace")
