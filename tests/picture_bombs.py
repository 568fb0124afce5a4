"""Picture files that mean harm: small ones that unpack to much, take long, or are something else."""

import io
import struct
import zlib

from PIL import Image

from input_pictures import bomb, encoded, photograph, png

BIG = 2**31 - 1


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(*chunks: bytes, size: tuple[int, int] = (8, 8), depth: int = 8, colour: int = 0) -> bytes:
    """A PNG with more chunks before its pixels."""
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    rows = (
        zlib.compress(bytes((size[0] + 1) * size[1])) if size[0] * size[1] < 10**7 else zlib.compress(bytes(10**6), 9)
    )
    body = chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IDAT", rows) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(width: int, height: int, **tags: int) -> bytes:
    """A grey TIFF of one strip whose header says whatever it likes; tags by number, such as t277=3."""
    entries = {
        256: width,
        257: height,
        258: 8,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: height,
        279: 4,
        322: None,
        323: None,
    }
    entries |= {int(name[1:]): value for name, value in tags.items()}
    known = sorted((tag, value) for tag, value in entries.items() if value is not None)
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value & 0xFFFFFFFF) for tag, value in known)
    return b"II*\0" + struct.pack("<I", 12) + bytes(4) + struct.pack("<H", len(known)) + table + bytes(4)


def ring_of_pages() -> bytes:
    """A TIFF whose second page is followed by its first."""
    data = bytearray(tiff(8, 8))
    data[-4:] = struct.pack("<I", 12)
    return bytes(data)


def jpeg_of_scans(scans: int, size: int = 4000) -> bytes:
    """A progressive JPEG that goes over the same picture again and again."""
    data = encoded(Image.new("L", (size, size), 7), "JPEG", progressive=True)
    start = data.rfind(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + b"\xff\xd9"


def jpeg_said_to_be(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.new("L", (8, 8)), "JPEG"))
    at = data.find(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_said_to_be(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.new("RGBA", (8, 8), (1, 2, 3, 4)), "WEBP", lossless=True, exif=b"Exif\0\0II*\0"))
    at = data.find(b"VP8X")
    data[at + 12 : at + 18] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return bytes(data)


def frames(kind: str, count: int) -> bytes:
    data = io.BytesIO()
    pages = [Image.new("L", (8, 8), shade % 256) for shade in range(count)]
    pages[0].save(data, kind, save_all=True, append_images=pages[1:])
    return data.getvalue()


def bmp(width: int, height: int, *, bits: int = 24, packed: int = 0, colours: int = 0, pixels: bytes = b"") -> bytes:
    head = struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, width, height, 1, bits, packed, 0, 0, 0, colours, 0)
    return b"BM" + head + pixels


def exif_bomb() -> bytes:
    """EXIF whose tables point at each other, with counts beyond all memory."""
    entry = struct.pack("<HHII", 0x0112, 4, 0xFFFFFFFF, 8) + struct.pack("<HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + struct.pack("<H", 2) + entry + struct.pack("<I", 8)


LAUGHS = zlib.compress(bytes(200_000_000), 9)
BOMBS: dict[str, bytes] = {
    "PNG: a wide header": bomb(50_000, 50_000),
    "PNG: the widest header": bomb(BIG, BIG),
    "PNG: a thin header": bomb(BIG, 1),
    "PNG: no width": bomb(0, 100),
    "PNG: pixels that never end": png_with(chunk(b"IDAT", LAUGHS)),
    "PNG: zTXt": png_with(chunk(b"zTXt", b"a\0\0" + LAUGHS)),
    "PNG: iTXt": png_with(chunk(b"iTXt", b"a\0\1\0\0\0" + LAUGHS)),
    "PNG: a profile": png_with(chunk(b"iCCP", b"a\0\0" + LAUGHS)),
    "PNG: many texts": png_with(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))] * 200),
    "PNG: zTXt behind the pixels": png()[:-12] + chunk(b"zTXt", b"a\0\0" + LAUGHS) + png()[-12:],
    "PNG: a long text": png_with(chunk(b"tEXt", b"a\0" + bytes(30_000_000))),
    "PNG: chunks without end": png_with(*[chunk(b"abCd")] * 200_000),
    "PNG: a chunk longer than the file": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", BIG) + b"IHDR",
    "PNG: a palette of nothing": png_with(size=(900, 900), depth=1, colour=3),
    "PNG: animated, said to be": png_with(chunk(b"acTL", struct.pack(">II", BIG, 0))),
    "PNG: frames": frames("PNG", 300),
    "JPEG: a wide header": jpeg_said_to_be(65_500, 65_500),
    "JPEG: no size": jpeg_said_to_be(0, 0),
    "JPEG: scans without end": jpeg_of_scans(3000),
    "JPEG: markers without end": b"\xff\xd8" + b"\xff\xe1\x00\x02" * 500_000 + b"\xff\xd9",
    "JPEG: cut": encoded(photograph(), "JPEG")[:300],
    "WebP: a wide header": webp_said_to_be(16_384, 16_384),
    "WebP: the widest header": webp_said_to_be(2**24, 2**24),
    "WebP: frames": frames("WEBP", 300),
    "WebP: a length beyond the file": b"RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\xff/",
    "TIFF: a wide header": tiff(60_000, 60_000),
    "TIFF: the widest header": tiff(BIG, BIG),
    "TIFF: a strip beyond memory": tiff(8, 8, t279=BIG),
    "TIFF: samples without end": tiff(8, 8, t277=60_000),
    "TIFF: bits without end": tiff(8, 8, t258=65_535),
    "TIFF: a tile beyond memory": tiff(8, 8, t322=2**24, t323=2**24, t324=8, t325=4),
    "TIFF: packed, a strip beyond memory": tiff(64, 64, t259=8, t278=2**30),
    "TIFF: a ring of pages": ring_of_pages(),
    "TIFF: pages": frames("TIFF", 300),
    "TIFF: a table beyond the file": b"II*\0\xff\xff\xff\x7f",
    "TIFF: a table of many": b"II*\0\x08\0\0\0\xff\xff" + bytes(100_000),
    "BMP: a wide header": bmp(50_000, 50_000),
    "BMP: a negative header": bmp(-900, -BIG),
    "BMP: packed rows": bmp(900, 900, bits=8, packed=1, pixels=b"\0\2\xff\xff" * 9),
    "BMP: colours without end": bmp(9, 9, bits=8, colours=BIG),
    "EXIF that points at itself": encoded(Image.new("L", (8, 8)), "JPEG", exif=exif_bomb())[:-60],
}  # fmt: skip
FOREIGN: dict[str, bytes] = {
    "SVG": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "SVG without a head": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://169.254.169.254/"/></svg>',
    "PDF": b"%PDF-1.7\n", "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (w) file\n",
    "EPS": b"\xc5\xd0\xd3\xc6" + bytes(30),
    "FITS": b"SIMPLE  =                    T" + bytes(2880), "PSD": b"8BPS\0\1" + bytes(30), "GIF": frames("GIF", 3),
    "a GIF without end": b"GIF89a\xff\xff\xff\xff\xf7\0\0" + bytes(900), "ICNS": b"icns\xff\xff\xff\xff",
    "ICO": b"\0\0\1\0\xff\xff",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n", "AVIF": b"\0\0\0\x1cftypavif", "HEIC": b"\0\0\0\x1cftypheic",
    "PCX": b"\n\5\1\x08",
    "PPM": b"P6 99999999 99999999 255\n", "TGA": bytes([0, 0, 2]) + bytes(15), "SGI": b"\x01\xda\0\1",
    "DDS": b"DDS " + bytes(124),
    "XBM": b"#define x_width 99999\n", "WMF": b"\xd7\xcd\xc6\x9a", "FLI": bytes(4) + b"\x11\xaf",
    "DCX": b"\xb1\x68\xde\x3a",
    "a profile": bytes(36) + b"acsp", "a zip": b"PK\3\4", "a page": b"<!DOCTYPE html><img src=x>",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "BigTIFF": b"II+\0\x08\0\0\0", "a pickle": b"\x80\x04K\x01.", "MNG": b"\x8aMNG\r\n\x1a\n",
    "a sound": b"RIFF\x24\0\0\0WAVEfmt ",
    "a PNG behind a blank": b" " + png(), "a PNG behind a page": b"<script>" + png(), "text": b"GIF",
    "NUL": bytes(1000),
}  # fmt: skip
POLYGLOTS: dict[str, bytes] = {
    "a PNG with a zip behind it": png() + b"PK\3\4" + bytes(100),
    "a PNG with a page behind it": png() + b"<script>alert(1)</script>",
    "a JPEG with a program behind it": encoded(Image.new("L", (8, 8)), "JPEG") + b"\x7fELF",
    "a BMP with a page in its header": encoded(Image.new("L", (8, 8)), "BMP") + b"<html>",
}
