"""`farm workers`: every worker that is there, silent, drained or quarantined, and what it does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.planning.placing.holding import clock
from dispatcher.views.hall import Hall
from dispatcher.views.progress import describe_worker
from storage.sql.workers import Rest, WorkerWish
from storage.wire.messages import Heartbeat


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One worker."""

    node: str
    device: str = ""
    memory_gib: int | None = None
    does: str = ""
    resident: int = 0  # loaded pipelines
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "node": self.node, "device": self.device, "memory_gib": self.memory_gib, "does": self.does,
            "resident": self.resident, "notes": list(self.notes),
        }  # fmt: skip


def roster(
    hall: Hall, *, wishes: Mapping[str, WorkerWish], rests: Mapping[tuple[str, str], Rest],
    names: Mapping[str, str], now: float,
) -> list[Entry]:  # fmt: skip
    """Every worker, by name.

    Args:
        hall: What the broker shows.
        wishes: What users want of workers.
        rests: Who rests now.
        names: Of jobs, by id.
        now: Unix seconds.
    """
    entries = {beat.node: _entry(beat, names=names) for beat in hall.live}
    away = dict.fromkeys(wishes.keys() - entries.keys(), "is not there")
    away |= {node: f"silent for {age:.0f} s" for node, age in hall.silent.items()}
    away |= {node: f"quarantined: {why}" for node, why in hall.quarantined.items() if node not in entries}
    entries |= {node: Entry(node=node, does=does) for node, does in away.items()}
    found = {node: list(_notes(node, hall, wishes=wishes, rests=rests, now=now)) for node in entries}
    return [
        Entry(
            node=node, device=entry.device, memory_gib=entry.memory_gib, does=entry.does, resident=entry.resident,
            notes=[*found[node], *entry.notes],
        )
        for node, entry in sorted(entries.items())
    ]  # fmt: skip


def _entry(beat: Heartbeat, *, names: Mapping[str, str]) -> Entry:
    held = beat.holding
    job = "" if held is None else f"{names.get(held.job, held.job)}: "
    notes = [_spool(len(beat.spooled))] if beat.spooled else []
    return Entry(
        node=beat.node, device=beat.device, resident=len(beat.resident),
        memory_gib=round(beat.memory_bytes / 2**30) if beat.memory_bytes else None,
        does=job + describe_worker(beat), notes=[*notes, *([beat.trouble] if beat.trouble else [])],
    )  # fmt: skip


def _notes(
    node: str, hall: Hall, *, wishes: Mapping[str, WorkerWish], rests: Mapping[tuple[str, str], Rest], now: float
) -> Iterator[str]:
    if node in hall.quarantined and any(beat.node == node for beat in hall.live):
        yield f"quarantined: {hall.quarantined[node]}"
    if node in wishes:
        yield f"drained; undo: ./farm drain {node} --undo"
    until = [rest.until for (name, _), rest in rests.items() if name == node]
    if until:
        yield f"rests until {clock(max(until), now=now)} from a model that it kept failing with"


def _spool(count: int) -> str:
    return f"{count} {'chunk waits' if count == 1 else 'chunks wait'} on its disk for the store"
