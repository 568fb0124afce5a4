"""Images into pages of cells: pure, and small enough to look at.

Rows and columns of numbers rise; all others stand in order of first appearance, which is the order that the
job declares. A page has the rows and columns that occur on it; what a page cannot hold is cut and said.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from dispatcher.sheet.arrange import MAX_PAGES, Arrangement, arrange, shorten_label
from dispatcher.sheet.cell import Cell, Page, SheetImage, Value

MAX_ROWS = 40
MAX_COLS = 24


def layout(
    images: Sequence[SheetImage], *, rows: str | None, cols: str | None, pages: str | None, pick: Mapping[str, str]
) -> list[Page]:
    """Lay images out on pages.

    Args:
        images: In any order, numbers distinct.
        rows: The field along the rows; None lets the defaults choose.
        cols: Likewise along the columns.
        pages: The field that makes pages; None takes what still varies, up to 12 pages.
        pick: Fields to fix, by the text of their value; numbers compare as numbers.

    Returns:
        At most 12 pages of at most 40 rows and 24 columns; none without images.

    Raises:
        UnknownName: A field or a picked value that no image has.
        UserError: One field in two roles.
    """
    plan = arrange(images, rows=rows, cols=cols, pages=pages, pick=pick)
    by_page: dict[tuple[str, ...], list[SheetImage]] = {}
    for image in plan.images:
        by_page.setdefault(tuple(image.label(field) for field in plan.pages), []).append(image)
    keys = [(label,) for label in _values(plan.pages[0], plan.images)] if len(plan.pages) == 1 else list(by_page)
    cut = _cut(len(keys), MAX_PAGES, "pages")
    return [_page(plan, key, by_page[key], cut) for key in keys[:MAX_PAGES]]


def _page(plan: Arrangement, key: tuple[str, ...], images: Sequence[SheetImage], cut: str) -> Page:
    if plan.flow:
        return _flowing_page(plan, images)
    row_of, col_of = partial(_place, plan.rows), partial(_place, plan.cols)
    rows, cols = _values(plan.rows, images), _values(plan.cols, images)
    places: dict[tuple[str, str], list[SheetImage]] = {}
    for image in images:
        places.setdefault((row_of(image), col_of(image)), []).append(image)
    cuts = [cut, _cut(len(rows), MAX_ROWS, "rows"), _cut(len(cols), MAX_COLS, "columns")]
    rows, cols = rows[:MAX_ROWS], cols[:MAX_COLS]
    return Page(
        title=" · ".join(f"{field} = {shorten_label(value)}" for field, value in zip(plan.pages, key, strict=True)),
        caption=plan.caption,
        cut=" · ".join(filter(None, cuts)),
        row_field=plan.rows or "",
        col_field=plan.cols or "",
        rows=rows,
        cols=cols,
        cells=tuple(tuple(_cell(places.get((row, col), ())) for col in cols) for row in rows),
    )


def _flowing_page(plan: Arrangement, images: Sequence[SheetImage]) -> Page:
    """One list that runs on from row to row; a row is labelled by its first and last value."""
    places: dict[str, list[SheetImage]] = {}
    for image in images:
        places.setdefault(_place(plan.cols, image), []).append(image)
    values = _values(plan.cols, images)
    runs = [values[start : start + plan.flow] for start in range(0, len(values), plan.flow)]
    blank = [""] * plan.flow
    return Page(
        title="",
        caption=plan.caption,
        cut=_cut(len(runs), MAX_ROWS, "rows"),
        row_field=plan.cols or "",
        col_field="",
        rows=tuple(f"{run[0]} – {run[-1]}" if len(run) > 1 else run[0] for run in runs[:MAX_ROWS]),
        cols=tuple(blank),
        cells=tuple(
            tuple(_cell(places.get(value, ())) for value in [*run, *blank][: plan.flow]) for run in runs[:MAX_ROWS]
        ),
    )


def _place(field: str | None, image: SheetImage) -> str:
    return image.label(field) if field else ""


def _cell(images: Sequence[SheetImage]) -> Cell:
    return Cell(image=images[0], others=len(images) - 1) if images else Cell(image=None)


def _values(field: str | None, images: Sequence[SheetImage]) -> tuple[str, ...]:
    """The labels of a field in the order in which they stand."""
    found: dict[str, Value] = {}
    for image in images:
        found.setdefault(_place(field, image), image.fields.get(field) if field else None)
    if all(value is None or type(value) in (int, float) for value in found.values()):
        return tuple(sorted(found, key=lambda label: (found[label] is not None, found[label] or 0)))
    return tuple(found)


def _cut(found: int, limit: int, noun: str) -> str:
    others = {"rows": "--rows, --pick or --limit", "columns": "--cols, --pick or --limit", "pages": "--pages or --pick"}
    return f"first {limit} of {found:,} {noun}; {others[noun]} choose others" if found > limit else ""
