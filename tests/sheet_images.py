"""Images for the tests of the contact sheet: full products, with small pictures made on the spot."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from PIL import Image

from dispatcher.sheet import SheetImage
from dispatcher.sheet.cell import Value


def picture(colour: str = "teal", *, size: tuple[int, int] = (64, 64), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def image(number: int, fields: Mapping[str, Value], *, read: Callable[[], bytes] | None = picture) -> SheetImage:
    return SheetImage(number, fields, state="done" if read else "open", read=read, recipe=dict(fields))


def factorial(axes: Mapping[str, Sequence[Value]]) -> list[SheetImage]:
    """Every combination once, the last axis fastest."""
    rows = (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))
    return [image(number, fields) for number, fields in enumerate(rows)]
