"""How long until a killed worker's chunk is given out again, as SQL tells it: from the kill to the next attempt.

The next attempt of a chunk may be one of a chunk cut from it: images that were in the pipeline when a process died go
on apart. So the measure is the first chunk issued after the kill that holds an image of the lost one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import select

from faults import deeds
from faults.checks import numbers_of
from faults.farm import Farm
from storage.errors import DatabaseAway
from storage.sql.tables import attempt as attempt_table
from storage.sql.tables import chunk as chunk_table

POLL_S = 0.05
LIMIT_S = 180.0  # after which a kill counts as never taken over
STEADY_S = 2.0  # that a victim must have rendered


@dataclass(slots=True)
class Kill:
    """One kill, and what SQL said of it since."""

    kind: str
    worker: str
    at: float  # Unix seconds, as the dispatcher's: one host
    job: str
    chunk: int
    attempt: int
    numbers: set[int]
    noticed_s: float | None = None  # until the attempt was ended
    again_s: float | None = None  # until one of its images was issued again
    finished_anyway: bool = False  # its manifest was there already


@dataclass(slots=True)
class Takeovers:
    """Kills workers of a farm one after another, and measures."""

    farm: Farm
    kinds: list[str]
    say: Callable[[str], None] = print
    kills: list[Kill] = field(default_factory=list)
    _busy_since: dict[str, float] = field(default_factory=dict)
    _killed_at: dict[str, float] = field(default_factory=dict)

    def run(self, count: int, *, gap_s: float) -> list[Kill]:
        """Kill `count` times that hit, at least `gap_s` apart; return those."""
        due, begun = time.monotonic() + STEADY_S, time.monotonic()
        while len(self.hits) < count or any(_pending(kill) for kill in self.hits):
            self._watch()
            if time.monotonic() >= due and len(self.hits) < count and self._strike():
                due = time.monotonic() + gap_s
                self.say(f"{time.monotonic() - begun:.0f} s: kill {len(self.hits)} of {count}: {self.kills[-1].kind}")
            self._look()
            time.sleep(POLL_S)
        return self.hits

    @property
    def hits(self) -> list[Kill]:
        """Kills that ended a run; a manifest that was there already is none."""
        return [kill for kill in self.kills if not kill.finished_anyway]

    def _watch(self) -> None:
        now = time.monotonic()
        for worker in self._workers():
            if self.farm.renders(worker):
                self._busy_since.setdefault(worker, now)
            else:
                self._busy_since.pop(worker, None)
            if not self.farm.runs(worker) and not self._is_missed(worker):
                self.farm.again(worker)

    def _is_missed(self, worker: str) -> bool:
        """Whether it lost power and the farm does not know yet: a host that is back at once is no silent one."""
        return any(kill.worker == worker and kill.noticed_s is None and _pending(kill) for kill in self.kills)

    def _strike(self) -> bool:
        """Kill the worker that was left alone the longest, if it is in the midst of a chunk."""
        now = time.monotonic()
        ready = [worker for worker, since in self._busy_since.items() if now - since > STEADY_S]
        if not ready:
            return False
        worker = min(ready, key=lambda name: self._killed_at.get(name, 0.0))
        kind = self.kinds[len(self.hits) % len(self.kinds)]
        beat = self.farm.beat(worker)
        held = beat.holding if beat else None
        if held is None or held.phase != "running":
            return False
        kill = Kill(kind, worker, time.time(), held.job, held.chunk, held.attempt, self._numbers(held.job, held.chunk))
        if kind == "worker":
            deeds.kill_worker(self.farm, worker)
        elif not deeds.kill(self.farm, worker, kind):
            return False
        self._killed_at[worker] = now
        self._busy_since.pop(worker, None)
        self.kills.append(kill)
        return True

    def _look(self) -> None:
        for kill in self.kills:
            if _pending(kill):
                try:
                    self._ask(kill)
                except DatabaseAway:
                    return
                if time.time() - kill.at > LIMIT_S and kill.again_s is None:
                    kill.again_s = float("inf")

    def _ask(self, kill: Kill) -> None:
        with self.farm.database.read() as connection:
            mine = connection.execute(
                select(attempt_table.c.ended_at, attempt_table.c.outcome).where(
                    attempt_table.c.job == kill.job, attempt_table.c.chunk == kill.chunk,
                    attempt_table.c.attempt == kill.attempt,
                )
            ).one()  # fmt: skip
            later = connection.execute(
                select(attempt_table.c.issued_at, chunk_table.c.ranges)
                .join(chunk_table, (chunk_table.c.job == attempt_table.c.job)
                      & (chunk_table.c.number == attempt_table.c.chunk))
                .where(attempt_table.c.job == kill.job, attempt_table.c.chunk >= kill.chunk,
                       attempt_table.c.issued_at > kill.at)
                .order_by(attempt_table.c.issued_at)
            ).all()  # fmt: skip
        if mine.ended_at is not None:
            kill.finished_anyway = (mine.outcome or "").startswith("recorded")
            kill.noticed_s = mine.ended_at - kill.at
        again = [row.issued_at for row in later if numbers_of(row.ranges) & kill.numbers]
        if again and not kill.finished_anyway:
            kill.again_s = again[0] - kill.at

    def _numbers(self, job: str, number: int) -> set[int]:
        with self.farm.database.read() as connection:
            ranges = connection.execute(
                select(chunk_table.c.ranges).where(chunk_table.c.job == job, chunk_table.c.number == number)
            ).scalar_one()
        return numbers_of(ranges)

    def _workers(self) -> list[str]:
        return [name for name in self.farm.parts if name.startswith("w")]


def _pending(kill: Kill) -> bool:
    return kill.again_s is None and not kill.finished_anyway
