"""One value of a job file or of a cell, held against its key."""

import json
from math import isnan

from pydantic import ValidationError

from storage.spec.fields import FIELDS, check_value, holds_number, holds_switch, holds_whole_number
from storage.spec.file.reading import explain

WHOLE_NUMBER_KEYS = frozenset(name for name, entry in FIELDS.items() if holds_whole_number(entry))
NUMBER_KEYS = frozenset(name for name, entry in FIELDS.items() if holds_number(entry))
_SPELLED_NUMBERS = NUMBER_KEYS | {"cfg_cutoff"}  # a ratio, where it is no mapping
_SWITCHES = frozenset(name for name, entry in FIELDS.items() if holds_switch(entry))


def checked(key: str, value: object, *, path: str) -> object:
    """Check one value; a complaint names the path. Raises InvalidSpec."""
    try:
        return check_value(key, value, path=path)
    except ValidationError as error:
        raise explain(error, value, prefix=path) from None


def cell_value(key: str, cell: object) -> object:
    """What a cell of a table or a line of a text says of a key.

    Texts are what they spell, and an empty one or NaN is silence. Columns of whole numbers in which some are
    missing are often stored as fractions: 3.0 is 3 there.
    """
    if isinstance(cell, str):
        cell = _spelled(key, cell)
    if isinstance(cell, float) and isnan(cell):
        return None
    if isinstance(cell, float) and key in WHOLE_NUMBER_KEYS and cell.is_integer():
        cell = int(cell)
    return None if cell == "" and FIELDS[key].default is None else cell


def label_text(value: object, *, path: str) -> str:
    """What a cell says as a label. Raises InvalidSpec."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    checked("prompt", text, path=path)
    return text


def _spelled(key: str, text: str) -> object:
    """What a text of a file says of a key that takes no text: a number, true or false. Else the text."""
    if key in _SWITCHES:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    return _number_of(text) if key in _SPELLED_NUMBERS else text


def _number_of(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
