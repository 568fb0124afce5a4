"""What a contact sheet is made of: the images that go in, the cells and pages that come out.

Everything here is data. A picture is named by a function that reads it, so that a sheet of
a thousand cells never holds a thousand pictures.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Value = str | int | float | None
REJECTED = "rejected"  # a state: there is a picture, and no better one of its place


@dataclass(frozen=True, slots=True)
class SheetImage:
    """One image of a job, as far as a contact sheet needs it."""

    number: int  # of the place
    fields: Mapping[str, Value]  # what users know: prompt, seed, scheduler, labels, …
    state: str  # "done", REJECTED, "failed" or "open"
    read: Callable[[], bytes] | None  # the encoded picture (PNG, JPEG, WebP); None when there is none
    recipe: Mapping[str, object]  # shown on hover in the HTML
    take: int = 0  # which rendering of the place it is

    def label(self, field: str) -> str:
        """Show one field; places of a sheet are compared by this text."""
        return label(self.fields.get(field))


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a page: an image, or None where the job has no such image."""

    image: SheetImage | None
    others: int = 0  # further images of the same place; the lowest number is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A grid of cells with its labels, and in words how it was arranged and what it leaves out."""

    title: str  # "guidance_scale = 7.5"; empty when there is one page only
    caption: str  # "rows: prompt · columns: scheduler · seed = 0 (first of 8)"
    cut: str  # "first 40 of 120 rows; …"; empty when nothing is left out
    row_field: str  # empty when nothing is laid out along the rows
    col_field: str
    rows: tuple[str, ...]
    cols: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]  # cells[row][column]

    @property
    def images(self) -> tuple[SheetImage, ...]:
        """The images shown, row by row."""
        return tuple(cell.image for row in self.cells for cell in row if cell.image)


def tally(pages: Sequence[Page]) -> str:
    """Word the footer: "80 images · 78 done · 1 failed · 1 open", or "12 images, all done"."""
    states = Counter(image.state for page in pages for image in page.images)
    hidden = sum(cell.others for page in pages for row in page.cells for cell in row)
    total = states.total()
    if total and states["done"] == total:
        parts = [plural(total, "image") + (", all done" if total > 1 else ", done")]
    else:
        known = [f"{states[state]:,} {state}" for state in ("done", REJECTED, "failed", "open") if states[state]]
        parts = [plural(total, "image"), *known]
    return " · ".join(parts + ([f"{hidden:,} more in the same places (lowest number shown)"] if hidden else []))


def label(value: Value) -> str:
    """Show a value: 7.0 as "7", so that equal numbers are one place whatever their type."""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) or "(empty)"


def plural(count: int, noun: str) -> str:
    """Count a thing: "1 row", "2 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
