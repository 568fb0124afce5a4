"""The sheet as one HTML file: pictures inside, no request to anywhere, safe whatever a prompt says.

Text reaches the page in two ways only: escaped by `_text`, or inside the JSON of the recipes, which the
script sets as text. A content policy admits our own script by its hash and nothing else.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from dispatcher.sheet.arrange import shorten_label
from dispatcher.sheet.cell import REJECTED, Cell, Page, tally
from dispatcher.sheet.measure import Thumbs, cell_size
from dispatcher.sheet.picture import Thumb
from storage.spec.number import number_of, show_number

LONGEST = 4000  # characters of one value in a recipe card
LONGEST_LABEL = 600  # likewise of a row or column label
SPACES_AND_JOINERS = "\n\r\t \xa0\xad\u3000\u200c\u200d"  # not printable to Python, and wanted


@dataclass(slots=True)
class Book:
    """A file in the making: pages are added one by one, so that pictures need not wait for each other."""

    title: str
    _sections: list[str] = field(default_factory=list)
    _pages: list[Page] = field(default_factory=list)
    _recipes: list[list[tuple[str, str]]] = field(default_factory=list)

    def add(self, page: Page, thumbs: Thumbs) -> None:
        """Append a page; the thumbnails are not needed afterwards."""
        width, height = cell_size(page, thumbs)
        head = "".join(f'<th scope="col"><span>{_breakable(text)}</span></th>' for text in page.cols)
        body = "".join(
            f'<tr><th scope="row"><span>{_text(page.rows[row])}</span></th>'
            + "".join(self._cell(cell, thumbs.get((row, col))) for col, cell in enumerate(cells))
            + "</tr>\n"
            for row, cells in enumerate(page.cells)
        )
        self._pages.append(page)
        self._sections.append(
            f'<section id="page{len(self._pages)}" aria-label="{_text(page.title or "sheet")}">'
            + (f"<h2>{_text(page.title)}</h2>" if page.title else "")
            + f'<table{"" if page.row_field else " class=bare"} style="--w:{width}px;--h:{height}px">'
            f'<caption class="hush">{_text(page.caption)}</caption>\n'
            f'<thead><tr class="names"><td>{_text(page.row_field)}</td>'
            f'<th scope="colgroup" colspan="{len(page.cols)}">{_text(page.col_field)}</th></tr>\n'
            f"<tr><td></td>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
            f"</section>\n"
        )

    def close(self) -> str:
        """Write the file."""
        first = self._pages[0] if self._pages else None
        cuts = dict.fromkeys(cut for page in self._pages for cut in page.cut.split(" · ") if cut)
        style, script = _asset("page.css"), _asset("page.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        return (
            f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_text(shorten_label(self.title))}</title>\n<style>{style}</style>\n"
            f"<header><h1>{_text(self.title)}</h1>"
            f"<p>{_text(first.caption if first else 'no images')}</p>"
            + (f'<p class="cut">{_text(" · ".join(cuts))}</p>' if cuts else "")
            + f"{self._tabs()}</header>\n<main>{''.join(self._sections)}</main>\n"
            f"<footer>{_text(tally(self._pages) if first else '')}</footer>\n"
            f'<div id="card" role="tooltip" hidden></div>\n{DIALOG}\n'
            f'<script type="application/json" id="recipes">{_json(self._recipes)}</script>\n'
            f"<script>{script}</script>\n</html>\n"
        )

    def _tabs(self) -> str:
        if len(self._pages) < 2:
            return '<div class="below"></div>'
        buttons = (
            f'<button role="tab" aria-controls="page{number}">{_text(page.title)}</button>'
            for number, page in enumerate(self._pages, 1)
        )
        return f'<nav role="tablist" aria-label="pages" hidden>{"".join(buttons)}</nav>'

    def _cell(self, cell: Cell, thumb: Thumb | str | None) -> str:
        if cell.image is None or thumb is None:
            return "<td></td>"
        number = show_number(number_of(cell.image.number, take=cell.image.take))
        bad = cell.image.state == REJECTED
        about = f"image {number}{', rejected' if bad else ''}"
        about += f", and {cell.others} more in this place" if cell.others else ""
        self._recipes.append(_recipe(cell.image.recipe))
        data = f'type="button" data-recipe="{len(self._recipes) - 1}" data-about="{_text(about)}"'
        more = f"<i>+{cell.others}</i>" if cell.others else ""
        more += f"<i class={REJECTED}>{REJECTED}</i>" if bad and not isinstance(thumb, str) else ""
        if isinstance(thumb, str):
            word = _text(thumb)
            return f'<td><button class="cell none" {data}><b class="{word}">{word}</b>{more}</button></td>'
        alt = ", ".join([about, *(f"{name} {value}" for name, value in _spoken(cell.image.fields))])
        width, height = thumb.small.size
        smooth = ' class="pixels"' if max(thumb.natural) <= max(width, height) // 2 else ""
        source = f"data:{thumb.mime};base64,{base64.b64encode(thumb.data).decode()}"
        return (
            f'<td><button class="cell" {data}><img src="{source}" width="{width}" height="{height}"{smooth} '
            f'alt="{_text(alt)}">{more}</button></td>'
        )


DIALOG = """<dialog aria-label="large view"><div class="stage"><img alt=""></div><div class="side">
<form method="dialog"><button>Close</button></form><div class="about"></div><p class="keys">← → other images · Esc</p>
</div></dialog>"""


def _asset(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")


def _text(text: str) -> str:
    """Escape for markup and for quoted attributes; what UTF-8 or HTML cannot carry becomes a mark."""
    whole = text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
    clean = "".join(c if c.isprintable() or c in SPACES_AND_JOINERS else "\ufffd" for c in whole)
    return html.escape(clean, quote=True)


def _breakable(text: str) -> str:
    return _text(text).replace("_", "_<wbr>")


def _json(value: object) -> str:
    """JSON that cannot end its script element: ASCII only, without angle brackets or ampersands."""
    plain = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _recipe(recipe: Mapping[str, object]) -> list[tuple[str, str]]:
    lines = []
    for name, value in recipe.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        lines.append((str(name), shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"))
    return lines


def _spoken(fields: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    names = [name for name in ("prompt", "scheduler", "seed") if fields.get(name) is not None]
    return ((name, shorten_label(str(fields[name]))) for name in names)
