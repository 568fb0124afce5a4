"""Picture files for tests of input images: whole ones, broken ones, and files that only pretend."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))  # of the upright picture: top, then bottom


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def png(shade: int = 0, size: tuple[int, int] = (8, 8)) -> bytes:
    """A grey picture; another shade is another file."""
    return encoded(Image.new("L", size, shade))


def photograph(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture that does not compress to nothing."""
    noise = Image.effect_noise(size, 80)
    return Image.merge("RGB", (noise, noise.transpose(Image.Transpose.FLIP_LEFT_RIGHT), noise))


def quarters() -> Image.Image:
    """48 x 32 pixels; each quarter has one of CORNERS."""
    picture = Image.new("RGB", (48, 32))
    for place, colour in enumerate(CORNERS):
        picture.paste(colour, (24 * (place % 2), 16 * (place // 2), 24 * (place % 2) + 24, 16 * (place // 2) + 16))
    return picture


def corners(picture: Image.Image) -> list[object]:
    right, bottom = picture.width - 3, picture.height - 3
    return [picture.getpixel(place) for place in ((2, 2), (right, 2), (2, bottom), (right, bottom))]


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of a few bytes whose header announces gigabytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(100))) + _chunk(b"IEND")


def write(file: Path, data: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def _chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
