"""One encoded picture into the two small ones that a sheet needs.

The full-size picture lives for the length of one call. Whatever the bytes are, the answer is a
thumbnail or the word "unreadable".
"""

import io
import warnings
from dataclasses import dataclass

from PIL import Image

from dispatcher.sheet.cell import SheetImage
from storage.errors import PermanentError

FORMATS = ("PNG", "JPEG", "WEBP")
EDGE = 160  # pixels, longest side of a picture in the PNG
SMALL_EDGE, SMALL_BYTES = 64, 32_768  # up to here the HTML carries the original


@dataclass(frozen=True, slots=True)
class Thumb:
    """A picture in the sizes of a sheet."""

    small: Image.Image  # RGB, for the PNG
    mime: str
    data: bytes  # encoded, for the HTML
    natural: tuple[int, int]  # width and height of the original in pixels


def read_thumb(image: SheetImage, *, edge: int = EDGE, web_edge: int = 2 * EDGE) -> Thumb | str:
    """Read one picture and shrink it.

    Args:
        image: Its `read` is called once, or not at all.
        edge: Longest side of the small picture in pixels.
        web_edge: Likewise of the one for the HTML.

    Returns:
        The thumbnails; or, where there are none, why: "open", "failed", "unreadable".

    Raises:
        TransientError: The store is away: a sheet full of "unreadable" would be wrong.
    """
    if image.read is None:
        return image.state if image.state != "done" else "unreadable"
    try:
        encoded = image.read()
    except (OSError, PermanentError):
        return "unreadable"
    try:
        picture, mime = decode(encoded)
        small = flatten(fit(picture, edge=edge))
        if max(picture.size) <= SMALL_EDGE and len(encoded) <= SMALL_BYTES:
            return Thumb(small=small, mime=mime, data=encoded, natural=picture.size)
        return Thumb(small=small, mime="image/webp", data=_webp(picture, web_edge), natural=picture.size)
    except Exception:  # noqa: BLE001 decoders answer broken bytes with errors of every kind
        return "unreadable"


def decode(encoded: bytes) -> tuple[Image.Image, str]:
    """Decode a PNG, JPEG or WebP to RGB or RGBA, with its media type; raises what Pillow raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # beyond twice that size Pillow refuses
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as source:
            mime = Image.MIME[source.format or "PNG"]
            if source.mode.startswith("I"):  # 16 bits: a depth map, say
                return source.point(lambda value: value / 256).convert("L").convert("RGB"), mime
            return source.convert("RGBA" if source.has_transparency_data else "RGB"), mime


def fit(picture: Image.Image, *, edge: int) -> Image.Image:
    """Scale to at most `edge` pixels: large pictures by LANCZOS, small ones by whole factors only."""
    longest = max(picture.size)
    if longest > edge:
        width, height = (max(1, round(side * edge / longest)) for side in picture.size)
        return picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    factor = edge // longest
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def flatten(picture: Image.Image, *, ground: str = "white") -> Image.Image:
    """Lay a picture on a plain ground: transparent pixels have no colour worth showing."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    flat = Image.new("RGB", picture.size, ground)
    flat.paste(picture, mask=picture.getchannel("A"))
    return flat


def _webp(picture: Image.Image, edge: int) -> bytes:
    out = io.BytesIO()
    picture = fit(picture, edge=edge) if max(picture.size) > edge else picture
    picture.save(out, "WEBP", quality=85, method=2)
    return out.getvalue()
