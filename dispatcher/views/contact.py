"""The contact sheet of a job: its rows and open places turned into cells, drawn, and written beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dispatcher.farm import Farm
from dispatcher.sheet import Sheet, SheetImage, make_sheet
from dispatcher.sheet.cell import REJECTED
from dispatcher.views.gallery import write_file
from storage.spec import Job, Place
from storage.spec.labels import short_values
from storage.spec.number import number_of, place_of, take_of
from storage.sql import images
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow
from storage.states import ImageState

MAX_PLACES = 20_000  # a sheet of more is read by nobody; --limit changes it


@dataclass(frozen=True, slots=True)
class SheetFiles:
    """Where a sheet was written."""

    png: list[Path]
    html: Path
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    """What a sheet shows where; None leaves it to the sheet."""

    rows: str | None = None
    cols: str | None = None
    pages: str | None = None
    pick: Mapping[str, str] = field(default_factory=dict)
    limit: int = MAX_PLACES


def draw_sheet(farm: Farm, row: JobRow, wanted: Arrangement) -> Sheet:
    """Lay out and draw the sheet of a job, failed and open places marked. Raises UserError, StoreAway."""
    job = farm.specs.load(row.id, spec_hash=row.spec_hash)
    stated = (job[job.number_at(position)] for position in range(min(job.positions, wanted.limit)))
    places = sorted((place for place in stated if place is not None), key=lambda place: place.number)
    made = _best_takes(farm, row, [place.number for place in places])
    cells = [_cell(farm, row, job, place, made.get(place.number)) for place in places]
    return make_sheet(cells, rows=wanted.rows, cols=wanted.cols, pages=wanted.pages, pick=wanted.pick, title=row.name)


def write_sheet(sheet: Sheet, folder: Path, *, name: str = "sheet") -> SheetFiles:
    """Write sheet.png (sheet-2.png, ...) and sheet.html. Raises DiskFull, FolderRefused."""
    pngs = []
    for number, page in enumerate(sheet.png_pages, start=1):
        pngs.append(folder / (f"{name}.png" if number == 1 else f"{name}-{number}.png"))
        write_file(pngs[-1], page)
    html = folder / f"{name}.html"
    write_file(html, sheet.html.encode())
    return SheetFiles(pngs, html, sheet.note)


def _best_takes(farm: Farm, row: JobRow, numbers: Sequence[int]) -> dict[int, ImageRow]:
    """What a cell shows, by place: the first take that is accepted; where none is, what the job stated."""
    found: dict[int, ImageRow] = {}
    with farm.database.read() as connection:
        wanted, take = list(numbers), 0
        while wanted:
            rows = list(images.of_numbers(connection, row.id, [number_of(one, take=take) for one in wanted]))
            for image in rows:
                if take == 0 or (image.key is not None and image.rejected is None):
                    found[place_of(image.number)] = image
            wanted = [place for image in rows if found[place := place_of(image.number)].rejected is not None]
            take += 1
    return found


def _cell(farm: Farm, row: JobRow, job: Job, place: Place, image: ImageRow | None) -> SheetImage:
    fields = _fields(row, job, place)
    if image is None:
        return SheetImage(place.number, fields, "open", None, dict(fields))
    recipe = job.recipe(job[image.number] or place, row.models or {})
    if image.state == ImageState.FAILED or image.key is None:
        return SheetImage(place.number, fields, "failed", None, {**recipe, "reason": image.reason})
    read, take = partial(farm.store.get, image.key), take_of(image.number)
    if image.rejected is not None:
        return SheetImage(place.number, fields, REJECTED, read, {**recipe, "rejected": image.rejected}, take)
    return SheetImage(place.number, fields, "done", read, recipe, take)


def _fields(row: JobRow, job: Job, place: Place) -> dict[str, str | int | float | None]:
    """What a sheet can be arranged by. Derived seeds differ from prompt to prompt: their replicate lines them up."""
    fields = {**short_values(job.spec, place), **place.labels}
    for key in ("width", "height", "guidance_scale"):  # silent: the model's own
        if fields.get(key) is None and row.models is not None:
            fields[key] = getattr(row.models[place.values["model"]], key)
    if place.replicate is not None:
        del fields["seed"]
        fields["replicate"] = place.replicate
    return fields
