"""Which field goes along the rows, which along the columns, which makes pages, which is fixed.

A user who says nothing should get the sheet that an artist would lay out by hand: prompts down
the side, schedulers across. What was decided for the user is worded in the caption.

Fields of one job are often tied together (a label belongs to its prompt, a width to its height).
A field that the chosen ones decide already is no axis: taking it for one, or fixing it to its first
value, would only tear holes into the sheet.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dispatcher.sheet.cell import SheetImage, Value, label
from storage.errors import UnknownName, UserError, nearest
from storage.spec.fields import FIELDS, IMAGE_KEYS, PROMPT_KEYS

MAX_PAGES = 12
_FIRST = ("prompt", "scheduler", "steps", "guidance_scale", "strength", "model")
_LAST = ("seed", "replicate", "width", "height")
ORDER = (*_FIRST, *(key for key in FIELDS if key not in (*_FIRST, *_LAST)), *_LAST)  # then in order of appearance


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The decision, and the images that it leaves, by number."""

    images: tuple[SheetImage, ...]
    rows: str | None
    cols: str | None
    pages: tuple[str, ...]
    fixed: tuple[str, ...]  # in words: "seed = 0 (first of 8)"
    flow: int = 0  # a single long list runs on from row to row, so many to a row

    @property
    def caption(self) -> str:
        """The arrangement in one line, defaults included."""
        named = (("rows", self.rows), ("columns", self.cols), ("pages", ", ".join(self.pages)))
        roles = [f"{role}: {field}" for role, field in named if field]
        return " · ".join(([f"{self.cols}, {self.flow} to a row"] if self.flow else roles) + list(self.fixed))


def arrange(
    images: Sequence[SheetImage], *, rows: str | None, cols: str | None, pages: str | None, pick: Mapping[str, str]
) -> Arrangement:
    """Decide the place of every field that varies; None leaves the decision to the defaults.

    Raises:
        UnknownName: A field or a picked value that no image has.
        UserError: One field in two roles.
    """
    _check_roles(images, [name for name in (rows, cols, pages) if name is not None], pick)
    kept, fixed = _picked(sorted(images, key=lambda image: image.number), pick)
    chosen = rows, cols, pages
    rows, cols = _grid(kept, rows=rows, cols=cols, pages=pages)
    flow = _flow(kept, cols) if rows is None and not any(chosen) else 0
    grid = [field for field in (rows, cols) if field]
    paged = [pages] if pages else []
    for field in _candidates(kept):
        if not _is_free(kept, field, grid=grid, paged=paged):
            continue
        if pages is None and _distinct(kept, [*paged, field]) <= MAX_PAGES:
            paged.append(field)
            continue
        first = kept[0].label(field)
        fixed.append(f"{field} = {shorten_label(first)} (first of {_distinct(kept, [field])})")
        kept = [image for image in kept if image.label(field) == first]
    return Arrangement(images=tuple(kept), rows=rows, cols=cols, pages=tuple(paged), fixed=tuple(fixed), flow=flow)


def shorten_label(text: str) -> str:
    """Fit a value into a line of text."""
    line = " ".join(text[:200].split())
    return line if len(line) <= 48 else line[:47] + "…"


def _check_roles(images: Sequence[SheetImage], roles: Sequence[str], pick: Mapping[str, str]) -> None:
    known = dict.fromkeys(field for image in images for field in image.fields)
    for name in [*roles, *pick]:
        if images and name not in known:
            raise UnknownName("field", name, nearest(name, known))
    for name in roles:
        if roles.count(name) > 1:
            raise UserError(f"{name!r} stands in two of rows, columns and pages: name different fields")


def _picked(images: list[SheetImage], pick: Mapping[str, str]) -> tuple[list[SheetImage], list[str]]:
    fixed = []
    for field, wanted in pick.items():
        matching = [image for image in images if _matches(image.fields.get(field), wanted)]
        if images and not matching:
            known = {shorten_label(image.label(field)) for image in images}
            raise UnknownName(field, shorten_label(wanted), nearest(shorten_label(wanted), known))
        images = matching
        fixed.append(f"{field} = {shorten_label(images[0].label(field))} (picked)" if images else "")
    return images, fixed


def _matches(value: Value, wanted: str) -> bool:
    """Compare numbers as numbers, exactly where both are integers: a seed does not fit into a float."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        for parse in (int, float):
            try:
                return bool(value == parse(wanted))
            except (ValueError, OverflowError):
                continue
    return wanted in (value, label(value))


def _grid(
    images: Sequence[SheetImage], *, rows: str | None, cols: str | None, pages: str | None
) -> tuple[str | None, str | None]:
    """Prompts or input images down the side; across, the first field that crosses them; else the two first fields."""
    names = _candidates(images)
    if rows is None:  # a prompt is worth its label even where the page decides it
        prompts = [field for field in names if field in PROMPT_KEYS or ("prompt" in field and field not in FIELDS)]
        sides = (field for field in (*prompts, *filter(IMAGE_KEYS.__contains__, names)) if field != pages)
        rows = next((field for field in sides if _adds(images, field, [cols] if cols else [])), None)
    if cols is None:
        grid, paged = [rows] if rows else [], [pages] if pages else []
        cols = next((f for f in names if _is_free(images, f, grid=grid, paged=paged)), None)
    if rows is None:
        grid, paged = [cols] if cols else [], [pages] if pages else []
        rows = next((f for f in names if _is_free(images, f, grid=grid, paged=paged)), None)
    return rows, cols


def _flow(images: Sequence[SheetImage], field: str | None) -> int:
    """One list and nothing to cross it, a hundred seeds say: near a square rather than one endless row."""
    count = _distinct(images, [field]) if field else 0
    return max(6, min(12, math.ceil(math.sqrt(count)))) if count > 12 else 0


def _candidates(images: Sequence[SheetImage]) -> list[str]:
    """The fields that vary: the well-known ones first, the others in order of appearance."""
    known = dict.fromkeys(field for image in images for field in image.fields)
    ordered = [*ORDER, *known]
    return [field for field in dict.fromkeys(ordered) if field in known and _distinct(images, [field]) > 1]


def _is_free(images: Sequence[SheetImage], field: str, *, grid: list[str], paged: list[str]) -> bool:
    """Say whether a field varies on its own: it adds something, and is not nested in the places of the grid.

    Nested is a seed drawn anew for every image: each value has one place, so it crosses nothing.
    """
    nested = _distinct(images, grid) > 1 and _distinct(images, [field]) == _distinct(images, [*grid, field])
    return _adds(images, field, [*grid, *paged]) and not nested


def _adds(images: Sequence[SheetImage], field: str, chosen: list[str]) -> bool:
    return field not in chosen and _distinct(images, [*chosen, field]) > _distinct(images, chosen)


def _distinct(images: Sequence[SheetImage], fields: Sequence[str]) -> int:
    return len({tuple(image.label(field) for field in fields) for image in images})
