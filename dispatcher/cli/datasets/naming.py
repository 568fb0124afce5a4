"""How people name an image: a job and a number."""

from dispatcher.farm import Farm
from storage.errors import InvalidSpec
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
