"""Contact sheets: images of a job as a grid, on PNG pages and as one HTML file.

    cell -> arrange -> layout          which image stands where (pure data)
    face, picture -> measure -> draw   a page as PNG
                     measure -> web    all pages as HTML

Data in, bytes out: no SQL, no store, no clock. Pictures are read one at a time and page by page, each once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dispatcher.sheet.cell import Cell, Page, SheetImage, plural
from dispatcher.sheet.draw import draw_page
from dispatcher.sheet.layout import layout
from dispatcher.sheet.measure import Thumbs
from dispatcher.sheet.picture import EDGE, read_thumb
from dispatcher.sheet.web import Book

__all__ = ["Cell", "Page", "Sheet", "SheetImage", "layout", "make_sheet", "render_html", "render_png"]

WEB_EDGES = ((48, 768), (200, 512), (1000, 2 * EDGE))  # up to so many images, so many pixels: some 10 MB at most


@dataclass(frozen=True, slots=True)
class Sheet:
    """A finished contact sheet."""

    png_pages: tuple[bytes, ...]
    html: str
    note: str  # a line or two for the terminal: what is on it, how it was arranged, what was cut


def make_sheet(
    images: Sequence[SheetImage],
    *,
    rows: str | None,
    cols: str | None,
    pages: str | None,
    pick: Mapping[str, str],
    title: str,
) -> Sheet:
    """Lay out, read every shown picture once, and render both forms; see `layout` for the arguments.

    Raises:
        UserError: A field or value that does not exist, or one field in two roles.
        TransientError: Reading met a store that is away.
    """
    laid = layout(images, rows=rows, cols=cols, pages=pages, pick=pick)
    book, drawn = Book(title), []
    for number, (page, thumbs) in enumerate(_read(laid, edge=EDGE), 1):
        drawn.append(draw_page(page, thumbs, title=title, folio=_folio(number, len(laid))))
        book.add(page, thumbs)
    return Sheet(png_pages=tuple(drawn), html=book.close(), note=_note(laid, total=len(images)))


def render_png(pages: Sequence[Page], *, title: str, edge: int = EDGE) -> list[bytes]:
    """Draw every page as one PNG; `edge` is the longest side of a picture in pixels."""
    return [
        draw_page(page, thumbs, title=title, folio=_folio(number, len(pages)))
        for number, (page, thumbs) in enumerate(_read(pages, edge=edge), 1)
    ]


def render_html(pages: Sequence[Page], *, title: str, edge: int = EDGE) -> str:
    """Write all pages as one self-contained HTML file; `edge` is the longest side of a cell in pixels."""
    book = Book(title)
    for page, thumbs in _read(pages, edge=edge):
        book.add(page, thumbs)
    return book.close()


def _read(pages: Sequence[Page], *, edge: int) -> Iterator[tuple[Page, Thumbs]]:
    """Thumbnails of one page at a time; the HTML gets larger pictures when there are few."""
    count = sum(len(page.images) for page in pages)
    web_edge = max(edge, next((pixels for limit, pixels in WEB_EDGES if count <= limit), edge))
    for page in pages:
        yield (
            page,
            {
                (row, col): read_thumb(cell.image, edge=edge, web_edge=web_edge)
                for row, cells in enumerate(page.cells)
                for col, cell in enumerate(cells)
                if cell.image
            },
        )


def _folio(number: int, count: int) -> str:
    return f"page {number} of {count}" if count > 1 else ""


def _note(pages: Sequence[Page], *, total: int) -> str:
    if not pages:
        return "no images to show"
    shown = sum(len(page.images) for page in pages)
    most = max(len(page.rows) for page in pages), max(len(page.cols) for page in pages)
    grid = f"{plural(most[0], 'row')} x {plural(most[1], 'column')}"
    cuts = dict.fromkeys(cut for page in pages for cut in page.cut.split(" · ") if cut)
    first = f"{plural(len(pages), 'page')}, {grid}, {shown:,} of {plural(total, 'image')}"
    return "\n".join(filter(None, [first, pages[0].caption, *cuts]))
