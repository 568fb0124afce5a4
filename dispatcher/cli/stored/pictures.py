"""Commands about images: one with its provenance, all of them as files, the contact sheet."""

from pathlib import Path

import click

from dispatcher.cli.common import echo_json, job_argument, name_option, open_farm, parse_picks


@click.command()
@click.argument("job")
@click.argument("number", type=int)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Also write the picture to this file.")
def image(job: str, number: int, to: Path | None) -> None:
    """Print how image NUMBER of a job came to be, as JSON."""
    from dispatcher.views.gallery import write_file
    from dispatcher.views.provenance import provenance
    from storage.errors import UnknownName
    from storage.sql import images as image_rows
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    said = provenance(farm, row, number)
    if to is not None:
        with farm.database.read() as connection:
            made = image_rows.get(connection, row.id, number)
        if made is None or made.key is None:
            raise UnknownName("picture of image", str(number), "it failed; see 'failure' in 'farm image'")
        write_file(to, farm.store.get(made.key))
    echo_json(said)


@click.command()
@job_argument
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to fill.")
@name_option
def images(job: str, to: Path, pattern: str) -> None:
    """Copy the images of a job into a folder, with readable names."""
    from dispatcher.views.gallery import Gallery
    from storage.sql import images as image_rows
    from storage.sql import jobs

    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    gallery = Gallery(to, pattern=pattern, database=farm.database, store=farm.store)
    gallery.fill(row.id)
    with farm.database.read() as connection:
        flags = image_rows.flag_counts(connection, row.id)
    counted = "".join(f", {count} {flag}" for flag, count in flags.items())
    click.echo(f"{gallery.count} images of {row.name} in {to}{counted}")


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
