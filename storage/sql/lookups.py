"""Values that many rows share (prompts, models, plans, environments), kept once and named by a small number."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.spec.plan import Plan
from storage.sql.tables import environment, model, plan, prompt

_BATCH = 500  # below SQLite's limit on variables


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, key: str) -> None:
    """Insert rows whose unique `key` columns (comma separated) are not there yet."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    columns = key.split(",")
    if rows:
        connection.execute(insert(table).on_conflict_do_nothing(index_elements=columns), list(rows))


def prompt_ids(connection: Connection, texts: Iterable[str]) -> dict[str, int]:
    """The id of every text; new ones are added."""
    hashes = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}
    insert_missing(connection, prompt, [{"sha256": key, "text": text} for key, text in hashes.items()], key="sha256")
    return {hashes[key]: number for key, number in _ids(connection, prompt, "sha256", list(hashes)).items()}


def plan_id(connection: Connection, chosen: Plan) -> int:
    """The id of a plan; a new one is added."""
    insert_missing(connection, plan, [{"hash": chosen.hash, "body": chosen.model_dump()}], key="hash")
    return _ids(connection, plan, "hash", [chosen.hash])[chosen.hash]


def environment_id(connection: Connection, body: Mapping[str, Any], *, digest: str) -> int:
    """The id of a set of library versions and device."""
    insert_missing(connection, environment, [{"hash": digest, "body": dict(body)}], key="hash")
    return _ids(connection, environment, "hash", [digest])[digest]


def model_ids(connection: Connection, models: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """The id of every model, by its name; values are (digest, family)."""
    rows = [{"name": name, "digest": digest, "family": family} for name, (digest, family) in models.items()]
    insert_missing(connection, model, rows, key="name,digest")
    found = connection.execute(select(model.c.id, model.c.name, model.c.digest).where(model.c.name.in_(list(models))))
    return {row.name: row.id for row in found if models[row.name][0] == row.digest}


def _ids(connection: Connection, table: Table, column: str, keys: Sequence[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for start in range(0, len(keys), _BATCH):
        part = keys[start : start + _BATCH]
        rows = connection.execute(select(table.c[column], table.c.id).where(table.c[column].in_(part)))
        ids.update({row[0]: row[1] for row in rows})
    return ids
