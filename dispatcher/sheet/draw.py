"""A page as PNG: light ground, one face, hairlines, and nothing that competes with the pictures."""

import io
from functools import cache

from PIL import Image, ImageDraw

from dispatcher.sheet.cell import REJECTED, Page, tally
from dispatcher.sheet.measure import GAP, GUTTER, MARGIN, SMALL, SUBTITLE, TEXT, TITLE, Measure, Thumbs, measure
from dispatcher.sheet.picture import Thumb

GROUND, INK, SOFT, FAINT, LINE = "#ffffff", "#17191c", "#4d535b", "#7b828c", "#e2e5e9"
HATCH, STRIPE = "#f6f7f8", "#e6e9ed"
WORD_INK = {"failed": "#b3261e", REJECTED: "#b3261e", "unreadable": "#96590a"}  # any other state is faint
PILL = 5  # pixels around the text of a pill, sideways


def draw_page(page: Page, thumbs: Thumbs, *, title: str, folio: str = "") -> bytes:
    """Draw one page; the same input gives the same bytes.

    Args:
        page: What stands where.
        thumbs: For every image of the page its thumbnail, or the word that stands in for it.
        title: Of the whole sheet.
        folio: "page 1 of 3", in the footer.
    """
    plan = measure(page, thumbs, title=title)
    sheet = Image.new("RGB", (plan.width, plan.height), GROUND)
    canvas = ImageDraw.Draw(sheet)
    _head(canvas, plan)
    _labels(canvas, plan, page)
    for row, cells in enumerate(page.cells):
        for col, cell in enumerate(cells):
            if cell.image:
                _cell(sheet, thumbs[row, col], at=plan.corner(row, col), size=plan.cell)
            if cell.image and cell.image.state == REJECTED and isinstance(thumbs[row, col], Thumb):
                _verdict(canvas, REJECTED, plan.corner(row, col))
            if cell.others:
                _badge(canvas, f"+{cell.others}", plan, plan.corner(row, col))
    _foot(canvas, plan, tally([page]), folio)
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=6)
    return out.getvalue()


def _head(canvas: ImageDraw.ImageDraw, plan: Measure) -> None:
    y = MARGIN
    blocks = (
        (TITLE, plan.title, INK),
        (SUBTITLE, plan.subtitle, SOFT),
        (SMALL, plan.caption, FAINT),
        (SMALL, plan.cut, SOFT),
    )
    for face, lines, fill in blocks:
        for line in lines:
            face.draw(canvas, (MARGIN, y + face.size), line, fill=fill)
            y += face.leading
        y += 6 if lines else 0


def _labels(canvas: ImageDraw.ImageDraw, plan: Measure, page: Page) -> None:
    """Names of the two fields, column labels standing on the grid, row labels level with their pictures."""
    left, top = plan.grid
    rule = plan.head + 10
    canvas.line((MARGIN, rule, plan.width - MARGIN - 1, rule), fill=LINE)
    names = rule + 12 + SMALL.size
    if page.row_field:
        _line(canvas, (MARGIN, names), page.row_field, width=left - MARGIN - GUTTER)
    if page.col_field:
        _line(canvas, (left, names), page.col_field, width=plan.width - MARGIN - left)
        for col, lines in enumerate(plan.col_labels):
            for up, line in enumerate(reversed(lines)):
                x = plan.corner(0, col)[0]
                TEXT.draw(canvas, (x, top - 13 - up * TEXT.leading), line, fill=INK)
    if page.row_field:
        for row, lines in enumerate(plan.row_labels):
            for down, line in enumerate(lines):
                y = plan.corner(row, 0)[1] + TEXT.size - 2 + down * TEXT.leading
                TEXT.draw(canvas, (MARGIN, y), line, fill=INK)


def _cell(sheet: Image.Image, thumb: Thumb | str, *, at: tuple[int, int], size: tuple[int, int]) -> None:
    if isinstance(thumb, Thumb):
        inset = [(room - side) // 2 for room, side in zip(size, thumb.small.size, strict=True)]
        sheet.paste(thumb.small, (at[0] + inset[0], at[1] + inset[1]))
        return
    sheet.paste(_hatch(size), at)
    width = round(SMALL.width(thumb))
    x, y = at[0] + (size[0] - width) // 2, at[1] + size[1] // 2
    canvas = ImageDraw.Draw(sheet)
    canvas.rectangle((x - PILL - 1, y - 10, x + width + PILL, y + 9), fill=HATCH)
    SMALL.draw(canvas, (x, y + 4), thumb, fill=WORD_INK.get(thumb, FAINT))


def _badge(canvas: ImageDraw.ImageDraw, text: str, plan: Measure, at: tuple[int, int]) -> None:
    """A small count in the lower right corner: more images share this place."""
    right, bottom = at[0] + plan.cell[0] - 4, at[1] + plan.cell[1] - 4
    left = right - round(SMALL.width(text)) - 2 * PILL
    canvas.rounded_rectangle((left, bottom - 17, right, bottom), radius=4, fill=GROUND, outline=LINE)
    SMALL.draw(canvas, (left + PILL, bottom - 4), text, fill=SOFT)


def _verdict(canvas: ImageDraw.ImageDraw, text: str, at: tuple[int, int]) -> None:
    """A word in the upper left corner of a picture."""
    left, top = at[0] + 4, at[1] + 4
    right = left + round(SMALL.width(text)) + 2 * PILL
    canvas.rounded_rectangle((left, top, right, top + 17), radius=4, fill=GROUND, outline=LINE)
    SMALL.draw(canvas, (left + PILL, top + 13), text, fill=WORD_INK[text])


def _foot(canvas: ImageDraw.ImageDraw, plan: Measure, counts: str, folio: str) -> None:
    rule = plan.height - MARGIN + 10 - SMALL.leading - 12
    canvas.line((MARGIN, rule, plan.width - MARGIN - 1, rule), fill=LINE)
    baseline = rule + 10 + SMALL.size
    room = plan.width - 2 * MARGIN - SMALL.width(folio) - GAP
    _line(canvas, (MARGIN, baseline), counts, width=room)
    _line(canvas, (plan.width - MARGIN - SMALL.width(folio), baseline), folio, width=plan.width)


def _line(canvas: ImageDraw.ImageDraw, at: tuple[float, float], text: str, *, width: float) -> None:
    """One faint line; nothing for text without a visible character."""
    for line in SMALL.wrap(text, width=width, lines=1):
        SMALL.draw(canvas, at, line, fill=FAINT)


@cache
def _hatch(size: tuple[int, int]) -> Image.Image:
    """Diagonal stripes, drawn fourfold and reduced: Pillow's own lines are not smooth."""
    width, height = (side * 4 for side in size)
    big = Image.new("RGB", (width, height), HATCH)
    canvas = ImageDraw.Draw(big)
    for x in range(-height, width, 40):
        canvas.line((x, height, x + height, 0), fill=STRIPE, width=5)
    small = big.reduce(4)
    ImageDraw.Draw(small).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=LINE)
    return small
