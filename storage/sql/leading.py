"""Who leads: one row with an epoch, checked and bumped by every transaction of the dispatcher.

A dispatcher that was frozen and thaws finds another epoch and can change nothing. No clock is compared: a standby
watches whether `beat` still moves.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from storage.errors import TransientError
from storage.sql.lookups import insert_missing
from storage.sql.tables import leader


class NotLeading(TransientError):
    """Another dispatcher took over. Args: the epoch that was lost."""

    text = "another dispatcher leads since epoch {0}"


@dataclass(frozen=True, slots=True)
class Lead:
    """The leader's row."""

    epoch: int
    beat: int
    holder: str


def read(connection: Connection) -> Lead:
    """The row, made on first use. Needs a writing transaction."""
    insert_missing(connection, leader, [{"id": 1, "epoch": 0, "beat": 0, "holder": ""}], key="id")
    row = connection.execute(select(leader.c.epoch, leader.c.beat, leader.c.holder)).one()
    return Lead(row.epoch, row.beat, row.holder)


def peek(connection: Connection) -> Lead | None:
    """The row as it stands; None before the first dispatcher."""
    row = connection.execute(select(leader.c.epoch, leader.c.beat, leader.c.holder)).one_or_none()
    return None if row is None else Lead(row.epoch, row.beat, row.holder)


def take(connection: Connection, seen: Lead, *, holder: str) -> int | None:
    """Become leader unless something moved since `seen`. Returns the new epoch, or None."""
    changed = connection.execute(
        update(leader)
        .where(leader.c.id == 1, leader.c.epoch == seen.epoch, leader.c.beat == seen.beat)
        .values(epoch=seen.epoch + 1, beat=seen.beat + 1, holder=holder)
    )
    return seen.epoch + 1 if changed.rowcount == 1 else None


def fence(connection: Connection, epoch: int) -> None:
    """Open a transaction of the leader. Raises NotLeading."""
    changed = connection.execute(
        update(leader).where(leader.c.id == 1, leader.c.epoch == epoch).values(beat=leader.c.beat + 1)
    )
    if changed.rowcount != 1:
        raise NotLeading(epoch)


def give_up(connection: Connection, epoch: int) -> None:
    """Leave the lead free, so that the next one need not wait."""
    connection.execute(update(leader).where(leader.c.id == 1, leader.c.epoch == epoch).values(holder=""))
