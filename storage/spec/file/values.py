"""One value of a job file or of a cell, held against its key."""

import json

from pydantic import ValidationError

from storage.spec.fields import FIELDS, check_value, holds_number, holds_whole_number
from storage.spec.file.reading import explain

WHOLE_NUMBER_KEYS = frozenset(name for name, entry in FIELDS.items() if holds_whole_number(entry))
NUMBER_KEYS = frozenset(name for name, entry in FIELDS.items() if holds_number(entry))


def checked(key: str, value: object, *, path: str) -> object:
    """Check one value; a complaint names the path. Raises InvalidSpec."""
    try:
        return check_value(key, value, path=path)
    except ValidationError as error:
        raise explain(error, value, prefix=path) from None


def number_of(text: str) -> int | float | str:
    """The number that a text spells, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def cell_value(key: str, cell: object) -> object:
    """What a cell of a table says of a key: texts of numbers are numbers, and an empty one is silence.

    Columns of whole numbers in which some are missing are often stored as fractions: 3.0 is 3 there.
    """
    if isinstance(cell, str) and key in NUMBER_KEYS:
        cell = number_of(cell)
    elif isinstance(cell, float) and key in WHOLE_NUMBER_KEYS and cell.is_integer():
        cell = int(cell)
    return None if cell == "" and FIELDS[key].default is None else cell


def label_text(value: object, *, path: str) -> str:
    """What a cell says as a label. Raises InvalidSpec."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    checked("prompt", text, path=path)
    return text
