"""Commands about images: one with its provenance, all of them as files, the contact sheet."""

from pathlib import Path

import click

from dispatcher.cli.common import echo_json, job_argument, name_option, open_farm, parse_picks
from dispatcher.farm import Farm
from dispatcher.views.gallery import write_file


@click.command(short_help="Print how an image came to be; find it by its file.")
@click.argument("job", metavar="JOB|FILE")
@click.argument("number", required=False)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Also write the picture to this file.")
def image(job: str, number: str | None, to: Path | None) -> int:
    """Print how an image came to be, as JSON: image NUMBER (such as 12, or 12.1 for a take) of JOB.

    Given a picture FILE alone, finds the image by the SHA-256 of the file, then by its pixels, then by what the file
    says and what it looks like, even if its metadata were stripped, it was re-encoded or made smaller. Says what the
    file says of itself, and whether both agree. Ends with 1 if the farm does not know the picture.
    """
    from dispatcher.cli.datasets.naming import find_image
    from dispatcher.provenance.document import provenance
    from storage.errors import UnknownName
    from storage.sql import images as image_rows

    farm = open_farm()
    if number is None:
        return _image_of_file(farm, Path(job), to=to)
    row, place = find_image(farm, job, number)
    said = provenance(farm, row, place)
    if to is not None:
        with farm.database.read() as connection:
            made = image_rows.get(connection, row.id, place)
        if made is None or made.key is None:
            raise UnknownName("picture of image", number, "it failed; see 'failure' in 'farm image'")
        _copy(farm, made.key, to)
    echo_json(said)
    return 0


def _image_of_file(farm: Farm, file: Path, *, to: Path | None) -> int:
    from dispatcher.cli.datasets.naming import check_is_file
    from dispatcher.provenance.telling import tell
    from dispatcher.wording import counted

    check_is_file(file)
    told = tell(farm, file)
    if to is not None and told.stored is not None:
        _copy(farm, told.stored, to)
    echo_json(told.document)
    if left := told.document["unmeasured"]:
        which = f"{counted(left, 'image')} of the farm {'has' if left == 1 else 'have'} no perceptual hash"
        click.echo(f"note: {which}, as older farms made none; './farm verify JOB' makes them", err=True)
    return 0 if told.document["found"] is not None else 1


def _copy(farm: Farm, key: str, to: Path) -> None:
    from storage.errors import BlobMissing, PermanentError

    try:
        data = farm.store.get(key)
    except BlobMissing as error:
        hint = "'farm rerun' renders it again, 'farm fsck' finds all that are lost"
        raise PermanentError(f"{error}; {hint}") from None
    write_file(to, data)


@click.command()
@job_argument
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to fill.")
@name_option
def images(job: str, to: Path, pattern: str) -> None:
    """Copy the images of a job into a folder, with readable names."""
    from dispatcher.views.gallery import Gallery
    from dispatcher.wording import counted
    from storage.sql import images as image_rows
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    gallery = Gallery(to, pattern=pattern, database=farm.database, store=farm.store)
    gallery.fill(row.id)
    with farm.database.read() as connection:
        flags = image_rows.flag_counts(connection, row.id)
    beside = "".join(f", {count} {flag}" for flag, count in flags.items())
    click.echo(f"{counted(gallery.count, 'image')} of {row.name} in {to}{beside}")


@click.command(short_help="Draw the contact sheet of a job.")
@job_argument
@click.option("--rows", help="What changes from row to row. [default: the prompt or input image]")
@click.option(
    "--cols", help="What changes from column to column. [default: scheduler, steps, ..., seed: the first that varies]"
)
@click.option("--pages", help="What changes from page to page. [default: whatever else varies, up to 12 pages]")
@click.option("--pick", "picks", multiple=True, metavar="FIELD=VALUE", help="Show only this value of a field.")
@click.option("--limit", type=click.IntRange(1), default=20_000, show_default=True, help="Images to look at.")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Folder to write to. [default: here]")
def sheet(
    job: str, rows: str | None, cols: str | None, pages: str | None, picks: tuple[str, ...], limit: int, to: Path | None
) -> None:
    """Draw the contact sheet of a job: NAME-sheet.png and a self-contained NAME-sheet.html.

    Fields are recipe keys (prompt, scheduler, strength, loras, ...) and labels. What was chosen and cut is said.
    """
    from dispatcher.views.contact import Arrangement, draw_sheet, write_sheet
    from storage.sql import jobs

    wanted = Arrangement(rows=rows, cols=cols, pages=pages, pick=parse_picks(picks), limit=limit)
    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    drawn = draw_sheet(farm, row, wanted)
    files = write_sheet(drawn, to or Path(), name=f"{row.name}-sheet")
    click.echo(files.note)
    for path in [*files.png, files.html]:
        click.echo(f"  {path}")
