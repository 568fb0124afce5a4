"""The door for pictures from outside: what comes out upright, and what stays out."""

import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from input_pictures import CORNERS, bomb, corners, encoded, photograph, png, quarters
from storage.pictures import NotAPicture, PictureFacts, decode, examine

CAP = 10**6
UNTURN = {  # what brings an upright picture into the position that EXIF's number describes
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", UNTURN)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_comes_out_as_a_person_sees_it(kind: str, orientation: int) -> None:
    turn = UNTURN[orientation]
    lying = quarters() if turn is None else quarters().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(lying, kind, exif=exif, **quality)

    seen, facts = decode(data, max_pixels=CAP), examine(data, max_pixels=CAP)

    assert seen.size == (facts.width, facts.height) == (48, 32)
    for found, wanted in zip(corners(seen), CORNERS, strict=True):
        assert all(abs(one - other) < 6 for one, other in zip(found, wanted, strict=True))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("picture", "kind", "mode"),
    [
        pytest.param(Image.new("L", (4, 4), 7), "PNG", "L", id="grey"),
        pytest.param(Image.new("1", (4, 4), 1), "PNG", "L", id="black and white"),
        pytest.param(Image.new("RGB", (4, 4)).quantize(4), "PNG", "RGB", id="palette"),
        pytest.param(Image.new("RGBA", (4, 4), (1, 2, 3, 4)), "PNG", "RGBA", id="alpha"),
        pytest.param(Image.new("LA", (4, 4), (1, 2)), "PNG", "RGBA", id="grey with alpha"),
        pytest.param(Image.new("RGBA", (4, 4), (1, 2, 3, 4)), "WEBP", "RGBA", id="webp alpha"),
        pytest.param(Image.new("CMYK", (4, 4)), "JPEG", "RGB", id="cmyk"),
        pytest.param(Image.new("I;16", (4, 4), 1000), "PNG", "I;16", id="16-bit grey"),
        pytest.param(Image.new("I;16", (4, 4), 1000), "TIFF", "I;16", id="16-bit grey tiff"),
        pytest.param(Image.new("I;16B", (4, 4), 1000), "TIFF", "I;16", id="16-bit grey, big end first"),
        pytest.param(Image.new("RGB", (4, 4)), "BMP", "RGB", id="bmp"),
    ],
)
def test_few_modes_come_out(picture: Image.Image, kind: str, mode: str) -> None:
    seen = decode(encoded(picture, kind), max_pixels=CAP)

    assert (seen.mode, seen.size) == (mode, (4, 4))
    if mode == "I;16":
        assert seen.getpixel((0, 0)) == 1000


def test_the_first_of_a_phones_two_pictures_is_the_picture() -> None:
    data = io.BytesIO()
    quarters().save(data, "MPO", save_all=True, append_images=[quarters()])

    assert examine(data.getvalue(), max_pixels=CAP) == PictureFacts(width=48, height=32, format="JPEG")


def _animated(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("L", (8, 8), 0).save(data, kind, save_all=True, append_images=[Image.new("L", (8, 8), 255)])
    return data.getvalue()


HOSTILE = [
    pytest.param(b"", "is empty", id="empty"),
    pytest.param(b"\x89PNG\r\n\x1a\n", "is no picture that can be read", id="a signature alone"),
    pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is no PNG, JPEG, WebP, BMP or TIFF", id="svg"),
    pytest.param(encoded(Image.new("L", (8, 8)), "GIF"), "is no PNG, JPEG, WebP, BMP or TIFF", id="gif"),
    pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no PNG, JPEG, WebP, BMP or TIFF", id="postscript"),
    pytest.param(b"RIFF\0\0\0\0WAVEfmt ", "is no PNG, JPEG, WebP, BMP or TIFF", id="sound"),
    pytest.param(bomb(), "has 50000 x 50000 pixels, and 1000000 in all are taken (FARM_INPUT_PIXELS)", id="bomb"),
    pytest.param(bomb(900, 900), "is a broken PNG file", id="a header without pixels"),
    pytest.param(encoded(photograph())[:-1500], "is a broken PNG file", id="truncated png"),
    pytest.param(encoded(photograph(), "JPEG")[:-700], "is a broken JPEG file", id="truncated jpeg"),
    pytest.param(encoded(photograph(), "BMP")[:-700], "is a broken BMP file", id="truncated bmp"),
    pytest.param(encoded(photograph(), "TIFF")[:-700], "is ", id="truncated tiff"),
    pytest.param(encoded(photograph(), "WEBP")[:-700], "is ", id="truncated webp"),
    pytest.param(_animated("PNG"), "holds more than one picture", id="animated png"),
    pytest.param(_animated("WEBP"), "holds more than one picture", id="animated webp"),
    pytest.param(_animated("TIFF"), "holds more than one picture", id="tiff of pages"),
    pytest.param(encoded(Image.new("F", (4, 4)), "TIFF"), "has float pixels", id="float tiff"),
]


@pytest.mark.filterwarnings("default")  # Pillow says of some broken files more than it raises
@pytest.mark.parametrize(("data", "message"), HOSTILE)
@pytest.mark.parametrize("door", [decode, examine])
def test_what_is_no_picture_stays_out(door: object, data: bytes, message: str) -> None:
    with pytest.raises(NotAPicture) as caught:
        door(data, max_pixels=CAP)  # type: ignore[operator]

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_broken_exif_is_no_reason_to_refuse() -> None:
    data = encoded(quarters(), "JPEG", exif=b"Exif\0\0nonsense that is no TIFF")

    assert decode(data, max_pixels=CAP).size == (48, 32)


def test_the_cap_counts_pixels_not_sides() -> None:
    data = png(size=(100, 10))

    assert decode(data, max_pixels=1000).size == (100, 10)
    with pytest.raises(NotAPicture, match="100 x 10"):
        decode(data, max_pixels=999)


KINDS = {kind: encoded(photograph((24, 16)), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF")}


@pytest.mark.filterwarnings("ignore")
@given(kind=st.sampled_from(sorted(KINDS)), changes=st.lists(st.tuples(st.integers(0, 10**4), st.binary(max_size=6))))
def test_whatever_bytes_come_the_answer_is_a_picture_or_a_refusal(kind: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(KINDS[kind])
    for offset, new in changes:
        place = offset % len(data)
        data[place : place + len(new)] = new

    for door in (decode, examine):
        with suppress(NotAPicture):
            door(bytes(data), max_pixels=CAP)
