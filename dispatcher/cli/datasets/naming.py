"""How people name an image: a job and a number, or a file."""

from pathlib import Path

from dispatcher.farm import Farm
from storage.errors import InvalidSpec, UserError
from storage.spec.number import read_number
from storage.sql import jobs
from storage.sql.jobs import JobRow


def find_image(farm: Farm, job: str, number: str) -> tuple[JobRow, int]:
    """The job, and the number as it is stored; whether there is such an image is not looked at.

    Raises:
        InvalidSpec: That is no number of an image.
        UnknownName: There is no such job.
    """
    try:
        place = read_number(number)
    except ValueError as error:
        raise InvalidSpec("NUMBER", number, str(error)) from None
    with farm.database.read() as connection:
        return jobs.find(connection, job), place


def check_is_file(file: Path) -> None:
    """Refuse what is no picture file by its name alone. Raises UserError."""
    if file.is_dir():
        raise UserError(f"{file}: is a folder; give a picture in it")
    if not file.is_file():
        raise UserError(f"{file}: no such file; for an image of a job give its number too, such as {file} 12")
