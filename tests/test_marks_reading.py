"""Reading marks of files that anybody may have made: what is there is found, nothing is raised."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from marked_pictures import ENCODINGS, marks, picture
from storage.marks import encode, read
from storage.marks.exif import read_user_comment, user_comment

FILES = [encode(picture(), each, marks=marks()) for each in ENCODINGS]
NOTHING = read(b"")
XMP = "XML:com.adobe.xmp"


def png(**texts: str) -> bytes:
    """A PNG of another program."""
    info, data = PngInfo(), io.BytesIO()
    for keyword, text in texts.items():
        info.add_itxt(keyword.replace("XMP", XMP), text)
    picture().save(data, "PNG", pnginfo=info)
    return data.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(kind: bytes, body: bytes) -> bytes:
    plain = png()
    return plain[:33] + chunk(kind, body) + plain[33:]


@given(
    data=st.binary(max_size=400),
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1", b"RIFF....WEBP"]),
)
def test_bytes_of_any_kind_raise_nothing(data: bytes, start: bytes) -> None:
    read(start + data)


@given(file=st.sampled_from(FILES), place=st.integers(0, 3000), value=st.binary(min_size=1, max_size=8))
def test_a_file_with_a_few_bytes_changed_raises_nothing(file: bytes, place: int, value: bytes) -> None:
    place %= len(file)

    read(file[:place] + value + file[place + len(value) :])


@given(file=st.sampled_from(FILES), end=st.integers(0, 6000))
def test_a_file_cut_short_raises_nothing(file: bytes, end: int) -> None:
    read(file[: end % len(file)])


@given(st.binary(max_size=200))
def test_an_exif_block_of_any_kind_raises_nothing(block: bytes) -> None:
    for start in (b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0"):
        read_user_comment(start + block)


@pytest.mark.parametrize("format_", ["GIF", "BMP", "TIFF", "PNG", "JPEG", "WEBP"])
def test_a_picture_without_marks_says_nothing(format_: str) -> None:
    data = io.BytesIO()
    picture().save(data, format_)

    assert read(data.getvalue()) == NOTHING


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", "7", "null", "NaN", '{"a": NaN}', "[" * 100_000, '{"a":' * 100_000, "9" * 10_000, '{"a": 1e999999'],
    ids=lambda said: said[:12],
)
def test_a_record_that_is_none_is_none(said: str) -> None:
    assert read(png(seedfarm=said)).record is None


@pytest.mark.parametrize(
    "xmp",
    [
        pytest.param("", id="empty"),
        pytest.param("<x", id="no xml"),
        pytest.param('<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]><a>&d;</a>', id="entities"),
        pytest.param('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', id="outside"),
        pytest.param("<a>" * 50_000, id="deep"),
        pytest.param("<a>" * 200_000 + "</a>" * 200_000, id="deep and whole"),
        pytest.param("<a xmlns:b='c'><b:d/></a>", id="other"),
    ],
)
def test_an_xmp_packet_that_is_none_is_none(xmp: str) -> None:
    assert read(png(XMP=xmp)) == NOTHING


def test_source_types_of_other_writers_are_read() -> None:
    packet = (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
        '"http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/></rdf:RDF></x:xmpmeta>'
    )

    assert read(png(XMP=packet)).source_type == "digitalCapture"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(b"tEXt", b"parameters\0a f\xfcchs", id="plain"),
        pytest.param(b"zTXt", b"parameters\0\0" + zlib.compress(b"a f\xfcchs"), id="packed"),
        pytest.param(b"iTXt", b"parameters\0\1\0en\0\0" + zlib.compress("a füchs".encode()), id="packed, any language"),
        pytest.param(b"iTXt", "parameters\0\0\0\0\0a füchs".encode(), id="any language"),
    ],
)
def test_texts_of_other_writers_are_read(kind: bytes, body: bytes) -> None:
    assert read(with_chunk(kind, body)).infotext == "a füchs"


def test_a_text_that_unpacks_without_end_is_cut() -> None:
    bomb = zlib.compress(bytes(10**8))

    found = read(with_chunk(b"zTXt", b"parameters\0\0" + bomb)).infotext

    assert found is not None
    assert len(found) == 16 * 2**20


@pytest.mark.parametrize(
    ("code", "raw", "order", "text"),
    [
        pytest.param(b"UNICODE\0", "a fox 🦊".encode("utf-16-be"), "MM", "a fox 🦊", id="as piexif writes"),
        pytest.param(b"UNICODE\0", "a fox".encode("utf-16-le"), "MM", "a fox", id="the wrong order"),
        pytest.param(b"UNICODE\0", "狐".encode("utf-16-le"), "II", "狐", id="little endian, not Latin"),
        pytest.param(b"ASCII\0\0\0", b"a fox", "II", "a fox", id="ascii"),
        pytest.param(b"JIS\0\0\0\0\0", b"a fox", "II", None, id="another code"),
    ],
)
def test_comments_of_other_writers_are_read(code: bytes, raw: bytes, order: str, text: str | None) -> None:
    mark, comment = (">" if order == "MM" else "<"), code + raw
    block = (
        order.encode() + struct.pack(f"{mark}HI", 42, 8)
        + struct.pack(f"{mark}HHHIII", 1, 0x8769, 4, 1, 26, 0)
        + struct.pack(f"{mark}HHHIII", 1, 0x9286, 7, len(comment), 44, 0) + comment
    )  # fmt: skip

    assert read_user_comment(block) == text


def test_our_comment_is_read_by_pillow() -> None:
    data = io.BytesIO()
    picture().save(data, "JPEG", exif=b"Exif\0\0" + user_comment("a fox 🦊"))

    said = Image.open(data).getexif().get_ifd(0x8769)[0x9286]

    assert said == b"UNICODE\0" + "a fox 🦊".encode("utf-16-be")
