"""From the bytes of a picture file to pixels: the one door for pictures that the farm did not make.

Bytes from outside are hostile until shown otherwise. Only formats that people work in are opened, each by its own
decoder after its first bytes, so that neither a file's name nor a rare decoder decides anything; sizes are checked
before a pixel is unpacked. The picture comes out as a person sees it: turned as its EXIF data says.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from storage.errors import PermanentError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
FORMATS: Final = "PNG, JPEG, WebP, BMP or TIFF"

# Image.open would warn of sizes that are refused here anyway, and would take a phone's JPEG with a second picture
# behind the first for a series.
_Reader = Callable[[BytesIO], ImageFile]
_READERS: Final[tuple[tuple[bytes, _Reader], ...]] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
)
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MAX_SCANS: Final = 100  # of a JPEG; cameras and web tools make 10 at most, and each goes over the whole picture again
_SCAN: Final = b"\xff\xda"  # within pixels 0xff is always followed by something else
_LYING: Final = (5, 6, 7, 8)  # orientations that swap width and height
_UNREAD: Final = {"F": "float", "I": "32-bit", "LAB": "Lab"}  # modes that have no one meaning as a picture


class NotAPicture(PermanentError):
    """Bytes that the farm does not take for a picture. Args: what is wrong, and what to do about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFacts:
    """What is known of a picture file that can be read to its end."""

    width: int  # pixels, after turning
    height: int
    format: str  # "PNG", "JPEG", "WEBP", "BMP" or "TIFF"


def decode(data: bytes, *, max_pixels: int) -> Image.Image:
    """The picture in a file's bytes, turned upright.

    Args:
        data: The whole file.
        max_pixels: Cap on width x height.

    Returns:
        Mode "L", "RGB", "RGBA" (whatever has transparency) or "I;16" (16-bit grey, as depth maps come).

    Raises:
        NotAPicture: No such picture, too large, broken, or more than one.
    """
    picture = _open(data, max_pixels)
    with _complaints(picture):
        picture.load()
        turn = _TURNS.get(_orientation(picture))
        return _plain(picture if turn is None else picture.transpose(turn))


def examine(data: bytes, *, max_pixels: int) -> PictureFacts:
    """Read a file's bytes as `decode` does, keeping no pixels. Raises NotAPicture."""
    picture = _open(data, max_pixels)
    width, height = picture.size
    with _complaints(picture):
        if isinstance(picture, JpegImageFile):
            picture.draft(None, (1, 1))  # all bytes are still read, and an eighth of the pixels made
        picture.load()
        if _orientation(picture) in _LYING:
            width, height = height, width
    return PictureFacts(width=width, height=height, format=str(picture.format))


def _open(data: bytes, max_pixels: int) -> ImageFile:
    """The header of a picture, with its size and number checked."""
    reader = next((reader for magic, reader in _READERS if data.startswith(magic)), None)
    if not data:
        raise NotAPicture("is empty")
    if reader is None or (reader is WebPImageFile and data[8:12] != b"WEBP"):
        raise NotAPicture(f"is no {FORMATS} picture; convert it to one")
    try:
        picture = reader(BytesIO(data))
    except Exception as error:  # on hostile bytes decoders raise almost anything
        raise NotAPicture(f"is no picture that can be read ({_brief(error)}); save it anew") from error
    if isinstance(picture, JpegImageFile) and data.count(_SCAN) > MAX_SCANS:
        raise NotAPicture(f"goes over its pixels more than {MAX_SCANS} times; save it anew")
    width, height = picture.size
    if width * height > max_pixels:
        rule = f"has {width} x {height} pixels, and {max_pixels} in all are taken (FARM_INPUT_PIXELS); make it smaller"
        raise NotAPicture(rule)
    if getattr(picture, "is_animated", False):
        raise NotAPicture("holds more than one picture; save the one that is meant as a file of its own")
    if picture.mode in _UNREAD:
        raise NotAPicture(f"has {_UNREAD[picture.mode]} pixels; save it with 8 bits a channel, or as 16-bit grey")
    return picture


@contextmanager
def _complaints(picture: ImageFile) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # on hostile bytes decoders raise almost anything
        raise NotAPicture(f"is a broken {picture.format} file ({_brief(error)}); save it anew") from error


def _orientation(picture: ImageFile) -> int:
    """What EXIF says; 1 (upright) where it says nothing or is broken, as every viewer takes it."""
    try:
        said = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001
        return 1
    return said if isinstance(said, int) else 1


def _plain(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return picture if picture.mode == "I;16" else picture.convert("I").convert("I;16")
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:100]
