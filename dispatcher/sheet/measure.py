"""Where everything stands on the PNG of a page: text broken into lines, sizes in pixels.

The picture decides the size of the cell; the text adapts to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dispatcher.sheet.cell import Page
from dispatcher.sheet.face import drawable, face
from dispatcher.sheet.picture import EDGE, Thumb

Thumbs = Mapping[tuple[int, int], Thumb | str]  # by (row, column); a word where there is no picture

MARGIN = 44
GAP = 8  # between cells
GUTTER = 20  # between labels and cells
LEAST_WIDTH = 560  # so that title and caption have room
LEAST_CELL = 64  # so that a column label has room
LABEL_WIDTH = 208  # at most
LABEL_LINES = 4

TITLE, SUBTITLE, TEXT, SMALL = face(26), face(15), face(14), face(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The geometry of one page; all numbers are pixels."""

    width: int
    height: int
    cell: tuple[int, int]
    grid: tuple[int, int]  # left and top of the first cell
    title: list[str]
    subtitle: list[str]
    caption: list[str]
    cut: list[str]
    row_labels: list[list[str]]
    col_labels: list[list[str]]

    def corner(self, row: int, col: int) -> tuple[int, int]:
        """Left and top of a cell."""
        return self.grid[0] + col * (self.cell[0] + GAP), self.grid[1] + row * (self.cell[1] + GAP)

    @property
    def head(self) -> int:
        """Height of title, page title, caption and cut."""
        texts = ((TITLE, self.title), (SUBTITLE, self.subtitle), (SMALL, self.caption), (SMALL, self.cut))
        return MARGIN + sum(type_.leading * len(lines) + (6 if lines else 0) for type_, lines in texts)


def measure(page: Page, thumbs: Thumbs, *, title: str) -> Measure:
    """Break the texts of a page and place its cells."""
    cell = cell_size(page, thumbs)
    row_labels = [TEXT.wrap(text, width=LABEL_WIDTH, lines=_fitting_lines(cell[1])) for text in page.rows]
    col_labels = [TEXT.wrap(text, width=cell[0], lines=LABEL_LINES) for text in page.cols]
    side = _label_width(row_labels, page.row_field)
    left = MARGIN + (side + GUTTER if side else 0)
    right = left + len(page.cols) * (cell[0] + GAP) - GAP
    width = max(LEAST_WIDTH, right + MARGIN)
    inner = width - 2 * MARGIN
    head = Measure(
        width=width,
        height=0,
        cell=cell,
        grid=(left, 0),
        title=TITLE.wrap(title, width=inner, lines=2),
        subtitle=SUBTITLE.wrap(page.title, width=inner, lines=2),
        caption=SMALL.wrap(page.caption, width=inner, lines=3),
        cut=SMALL.wrap(page.cut, width=inner, lines=3),
        row_labels=row_labels,
        col_labels=col_labels,
    )
    return _with_height(head, page)


def _with_height(head: Measure, page: Page) -> Measure:
    labels = max(len(lines) for lines in head.col_labels) * TEXT.leading if page.col_field else 0
    names = SMALL.leading + 6 if page.row_field or page.col_field else 0
    top = head.head + 22 + names + labels + 10
    bottom = top + len(page.rows) * (head.cell[1] + GAP) - GAP
    return replace(head, grid=(head.grid[0], top), height=bottom + 26 + SMALL.leading + MARGIN - 10)


def cell_size(page: Page, thumbs: Thumbs) -> tuple[int, int]:
    """Width and height that hold every picture of a page, in pixels."""
    sizes = [thumb.small.size for thumb in thumbs.values() if isinstance(thumb, Thumb)]
    if not sizes:
        sizes = [_stated_size(page)]
    return max(LEAST_CELL, *(size[0] for size in sizes)), max(LEAST_CELL // 2, *(size[1] for size in sizes))


def _stated_size(page: Page) -> tuple[int, int]:
    """Without any picture: the shape that the images would have."""
    for image in page.images:
        width, height = image.fields.get("width"), image.fields.get("height")
        if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
            scale = EDGE / max(width, height)
            return round(width * scale), round(height * scale)
    return EDGE, EDGE


def _fitting_lines(height: int) -> int:
    return max(1, min(LABEL_LINES, (height + GAP) // TEXT.leading))


def _label_width(labels: list[list[str]], field: str) -> int:
    if not field:
        return 0
    widest = max((TEXT.width(line) for lines in labels for line in lines), default=0)
    return round(min(LABEL_WIDTH, max(widest, SMALL.width(drawable(field)), 48))) + 1
