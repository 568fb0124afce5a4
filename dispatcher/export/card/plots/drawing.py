"""Plots of the counts. The same counts give the same bytes: no time, no version, no random colour."""

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from dispatcher.export.card.tallying import SETTINGS, Counts, Histogram, Tally
from dispatcher.export.card.text.escaping import line, percent

_INK: Final = "#30343b"
_FAINT: Final = "#d5d8dd"
_BLUE: Final = "#3b6fb6"
_COLOURS: Final = {"rejected": "#d98a29", "failed": "#b8433f", "left out": "#8d939c"}
_LARGEST: Final = 24  # rows or columns of a grid
_BARS: Final = 12
_TITLE: Final = 3.6  # inches of the longest title of a grid, which begins where its cells do
_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK,
    "ytick.color": _INK, "axes.edgecolor": _FAINT, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left", "text.parse_math": False,
    "svg.hashsalt": "seedfarm",
}  # fmt: skip


def plots(tally: Tally) -> list[tuple[str, str, bytes]]:
    """Name, what it shows, and the PNG of each plot that has something to show."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        return list(_plots(tally))


def _plots(tally: Tally) -> Iterator[tuple[str, str, bytes]]:
    pair = widest_pair(tally)
    if pair is not None:
        shows = "images by " + " and ".join(dict.fromkeys(map(_words, pair)))
        yield "plots/settings.png", shows, _grid(tally, pair)
    if tally.reasons:
        yield "plots/reasons.png", "why images were rejected or failed", _reasons(tally)
    measured = {name: found for name, found in tally.scores.items() if found.count}
    if measured:
        yield "plots/scores.png", f"how {', '.join(measured)} scores are spread", _scores(measured)


def widest_pair(tally: Tally) -> tuple[str, str] | None:
    """The two settings that vary most; scheduler and steps where both vary. None if not even two settings vary."""
    counts = {name: len(tally.of(name)) for name in SETTINGS}
    varied = [name for name in SETTINGS if counts[name] > 1]
    if {"scheduler", "steps"} <= set(varied):
        return "scheduler", "steps"
    pairs = list(combinations(varied, 2))
    if not pairs:
        return (varied[0], varied[0]) if varied else None
    return max(pairs, key=lambda pair: counts[pair[0]] * counts[pair[1]])


def _grid(tally: Tally, pair: tuple[str, str]) -> bytes:
    """Counts as a grid of numbers, or bars where only one setting varies."""
    if pair[0] == pair[1]:
        found = list(tally.of(pair[0]).items())[:_LARGEST]
        return _bars([(_value(value), counts.images, _BLUE) for value, counts in found], f"Images by {_words(pair[0])}")
    rows, columns = (list(tally.of(name))[:_LARGEST] for name in pair)
    cells = _cells(tally, pair)
    counted = [[cells.get((row, column), Counts()) for column in columns] for row in rows]
    lost = any(counts.lost for line_ in counted for counts in line_)
    names = [_value(value) for value in rows]
    wide = 0.6 + 0.085 * max(map(len, names)) + max(_TITLE, (0.95 if lost else 0.75) * len(columns))
    figure, axes = _figure(max(5, wide), max(1.8, 1.25 + (0.44 if lost else 0.34) * len(rows)))
    shades = [[_shade(counts, lost=lost) for counts in line_] for line_ in counted]
    most = max(max(line_) for line_ in shades) or 1
    axes.imshow(shades, cmap="Oranges" if lost else "Blues", vmin=0, vmax=most * 1.8, aspect="auto")
    for y, line_ in enumerate(counted):
        for x, counts in enumerate(line_):
            axes.text(x, y, _told(counts), ha="center", va="center", fontsize=9, linespacing=1.15)
    _name_ticks(axes, [_value(value) for value in columns], names)
    axes.set(xlabel=_words(pair[1]), ylabel=_words(pair[0]))
    axes.set_title("Images, and the share that was lost" if lost else "Images")
    return _png(figure)


def _shade(counts: Counts, *, lost: bool) -> float:
    """How dark a cell is: by what was lost, or by how many images there are if nothing was."""
    return counts.lost / max(counts.images, 1) if lost else counts.images


def _told(counts: Counts) -> str:
    if not counts.images:
        return "·"
    share = f"\n{percent(counts.lost, counts.images)} lost" if counts.lost else ""
    return f"{counts.images:,}{share}"


def _cells(tally: Tally, pair: tuple[str, str]) -> Mapping[tuple[Any, Any], Counts]:
    places = tuple(SETTINGS.index(name) for name in pair)
    found: dict[tuple[Any, Any], Counts] = {}
    for key, counts in tally.settings.known.items():
        cell = found.setdefault((key[places[0]], key[places[1]]), Counts())
        cell.add((counts.images, counts.exported, counts.rejected, counts.failed))
    return found


def _name_ticks(axes: "Axes", columns: Sequence[str], rows: Sequence[str]) -> None:
    steep = any(len(name) > 6 for name in columns)
    axes.set_xticks(range(len(columns)), columns, rotation=35 if steep else 0, ha="right" if steep else "center")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _reasons(tally: Tally) -> bytes:
    found = tally.reasons.most_common(_BARS)
    rows = [(line(why, limit=40), count, _COLOURS.get(what, _INK)) for (what, why), count in found]
    told = {what for (what, _), _ in found}
    return _bars(
        rows, "Images that were lost, by reason", legend={what: _COLOURS[what] for what in _COLOURS if what in told}
    )


def _bars(rows: Sequence[tuple[str, int, str]], title: str, *, legend: Mapping[str, str] | None = None) -> bytes:
    """Lying bars with their numbers."""
    figure, axes = _figure(7, max(1.5, 0.9 + 0.34 * len(rows)))
    places = range(len(rows))
    axes.barh(places, [count for _, count, _ in rows], color=[colour for *_, colour in rows], height=0.68)
    axes.set_yticks(places, [name for name, *_ in rows])
    axes.invert_yaxis()
    most = max(count for _, count, _ in rows)
    for place, (_, count, _) in enumerate(rows):
        axes.text(count + most * 0.012, place, f"{count:,}", va="center", fontsize=9)
    axes.set_xlim(0, most * 1.12)
    axes.tick_params(length=0)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title(title)
    if legend:
        from matplotlib.patches import Patch

        patches = [Patch(color=colour, label=name) for name, colour in legend.items()]
        axes.legend(handles=patches, frameon=False, fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1, 1),
                    borderaxespad=0.1)  # fmt: skip
    return _png(figure)


def _scores(measured: Mapping[str, Histogram]) -> bytes:
    """One panel a score."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.4 + 1.7 * len(measured)), dpi=110, layout="constrained")
    panels = figure.subplots(len(measured), 1, squeeze=False)[:, 0]
    for axes, (name, found) in zip(panels, measured.items(), strict=True):
        _panel(axes, name, found)
    return _png(figure)


def _panel(axes: "Axes", name: str, found: Histogram) -> None:
    width, bins = _coarser(found)
    starts = [place * width for place in bins]
    axes.bar(starts, list(bins.values()), width=width * 0.94, align="edge", color=_BLUE)
    mean = found.total / found.count
    axes.axvline(mean, color=_INK, linewidth=1, linestyle="--")
    axes.set_title(f"{name}: {found.count:,} images, mean {mean:.3g}")
    axes.set_ylabel("images")
    axes.locator_params(axis="y", integer=True, nbins=4)


def _coarser(found: Histogram) -> tuple[float, Mapping[int, int]]:
    """Few bars for few values, at most 40."""
    width, bins = found.width, dict(found.bins)
    most = min(40, max(6, round(3 * found.count**0.5)))
    while max(bins) - min(bins) >= most:
        wider: dict[int, int] = {}
        for place, count in bins.items():
            wider[place // 2] = wider.get(place // 2, 0) + count
        width, bins = width * 2, wider
    return width, dict(sorted(bins.items()))


def _figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    return figure, figure.subplots()


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else line(str(value), limit=28)
