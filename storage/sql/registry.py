"""Queries about registered models: the names that users of a farm may put into jobs."""

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, delete, insert, select

from storage.errors import UnknownName, UserError, nearest
from storage.sql.tables import registered_model

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")  # never a path, never an id of the hub
NAME_RULE: Final = "must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with none of . and -"


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredModel:
    """A model under a name of the farm's own, frozen: its bytes never change."""

    name: str
    kind: str  # one of storage.models.KINDS
    source: str  # store:sha256:... or owner/name@commit of the hub
    digest: str
    family: str
    bytes: int  # of all its files
    variant: str | None  # the copy of the weights, such as fp16
    license: str | None
    added_by: str
    added_at: float


def add(connection: Connection, new: RegisteredModel) -> bool:
    """Register a model. Safe to repeat.

    Returns:
        Whether it is new.

    Raises:
        UserError: The name belongs to other bytes.
    """
    known = find(connection, new.name)
    if known is not None and (known.digest, known.source) != (new.digest, new.source):
        raise UserError(
            f"model {new.name!r} is {known.source} already; choose another name, or 'farm model rm {new.name}' first"
        )
    if known is None:
        connection.execute(insert(registered_model).values(**{name: getattr(new, name) for name in new.__slots__}))
    return known is None


def find(connection: Connection, name: str) -> RegisteredModel | None:
    """The model of that name, if there is one."""
    if NAME.fullmatch(name) is None:
        return None
    query = select(registered_model).where(registered_model.c.name == name)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _model(row)


def get(connection: Connection, name: str) -> RegisteredModel:
    """The model of that name. Raises UnknownName."""
    found = find(connection, name)
    if found is None:
        names = {model.name for model in listing(connection)}
        raise UnknownName("model", name, nearest(name, names) or "there are none yet; 'farm model add' registers one")
    return found


def listing(connection: Connection, *, kind: str | None = None) -> list[RegisteredModel]:
    """Every registered model, or those of one kind, by name."""
    query = select(registered_model).order_by(registered_model.c.name)
    if kind is not None:
        query = query.where(registered_model.c.kind == kind)
    return [_model(row) for row in connection.execute(query).mappings()]


def remove(connection: Connection, name: str) -> None:
    """Forget a name. The bytes stay where they are."""
    connection.execute(delete(registered_model).where(registered_model.c.name == name))


def _model(row: RowMapping) -> RegisteredModel:
    values: dict[str, Any] = dict(row)
    return RegisteredModel(**values)
