"""Many faults in a row over many jobs, all drawn by one seed: which, on whom, how long, how far apart.

The seed fixes the faults, not the farm: processes run at their own speed, so a replay meets the same faults at other
lines. Whatever has ended is started again after a moment, as an init system would do it.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis
from kombu.exceptions import OperationalError
from sqlalchemy import func, select

from faults.catalogue import KINDS, Drawn, NotNow, Undo
from faults.checks import Findings, check
from faults.farm import TESTS, Farm
from storage.errors import DatabaseAway, FarmError
from storage.sql.tables import attempt as attempt_table

POLL_S = 0.05
AGAIN_S = 0.7  # until an ended part is started again
PATIENCE_S = 20.0  # that a fault waits for the state that it needs
OPEN_JOBS = 3  # kept open while there are faults to come: a farm with nothing to do survives anything
CALM_S = 180.0  # after the last fault, until every job must be done
SAY_S = 10.0


def draw(seed: int, count: int, *, gap_s: tuple[float, float], silence_s: float) -> list[Drawn]:
    """The faults of a storm. Every kind comes once before any comes again."""
    lots, faults, deck = random.Random(seed), [], list[str]()
    for number in range(count):
        if not deck:
            deck = sorted(KINDS)
            lots.shuffle(deck)
        lasts = lots.uniform(0.2, 2.0) * silence_s
        faults.append(
            Drawn(number=number, kind=deck.pop(), gap_s=lots.uniform(*gap_s), lasts_s=lasts, lot=lots.getrandbits(31))
        )
    return faults


@dataclass(slots=True)
class Outcome:
    """What a storm came to."""

    dealt: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)  # faults that found no farm in the state they need
    seconds: float = 0.0
    jobs: dict[str, Findings] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)  # by how they ended
    unseen: int = 0  # objects that no row needs and `farm gc` left
    collecting: str = ""  # what `farm gc` said

    def total(self, what: str) -> int:
        """How many findings of one class there are over all jobs."""
        found = [getattr(findings, what) for findings in self.jobs.values()]
        return sum(len(value) if isinstance(value, list) else value for value in found)

    @property
    def clean(self) -> bool:
        """Whether every job ended whole."""
        return not self.unfinished and not self.unseen and all(findings.clean for findings in self.jobs.values())


class Storm:
    """Deals faults to a farm while it has jobs to do."""

    def __init__(
        self, farm: Farm, faults: Sequence[Drawn], *, images: int, job_images: int, say: Callable[[str], None] = print
    ) -> None:
        self._farm = farm
        self._faults = list(faults)
        self._images = images
        self._job_images = job_images
        self._say = say
        self._jobs: list[str] = []
        self._undo: list[tuple[float, str, Undo]] = []
        self._ended: dict[str, float] = {}
        self._said_at = 0.0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Deal every fault, let the farm finish, look at everything."""
        begun = time.monotonic()
        due = begun + (self._faults[0].gap_s if self._faults else 0)
        waits_since: float | None = None
        self._top_up()
        while self._faults:
            self._tend()
            now = time.monotonic()
            if now >= due:
                waits_since = waits_since or now
                done = self._deal(self._faults[0])
                if done or now - waits_since > PATIENCE_S:
                    fault, waits_since = self._faults.pop(0), None
                    if not done:
                        self.outcome.missed.append(fault.kind)
                        self._say(f"fault {fault.number + 1}: {fault.kind}: not possible now")
                    due = time.monotonic() + (self._faults[0].gap_s if self._faults else 0)
            self._tell(begun)
            time.sleep(POLL_S)
        self._calm(begun)
        self.outcome.seconds = time.monotonic() - begun
        self._look()
        return self.outcome

    def _deal(self, fault: Drawn) -> bool:
        try:
            undo = KINDS[fault.kind](self._farm, fault)
        except (NotNow, redis.RedisError, OperationalError, FarmError):
            return False
        self.outcome.dealt[fault.kind] += 1
        self._say(f"fault {fault.number + 1}: {fault.kind}" + (f", {fault.lasts_s:.1f} s" if undo else ""))
        if undo is not None:
            self._undo.append((time.monotonic() + fault.lasts_s, fault.kind, undo))
        return True

    def _tend(self) -> None:
        """End what has lasted long enough, start what has ended, keep jobs open."""
        now = time.monotonic()
        for entry in [entry for entry in self._undo if entry[0] <= now]:
            self._undo.remove(entry)
            assert entry[2] is not None
            entry[2]()
        for name in self._farm.parts:
            if self._farm.runs(name):
                self._ended.pop(name, None)
            elif now - self._ended.setdefault(name, now) > AGAIN_S:
                self._farm.again(name)
        self._top_up()

    def _top_up(self) -> None:
        try:
            open_jobs = sum(self._farm.job(name).is_open for name in self._jobs)
        except DatabaseAway:
            return
        more = len(self._jobs) * self._job_images < self._images or self._faults
        if open_jobs < OPEN_JOBS and more and not self._holds_up_submitting():
            self._jobs.append(self._farm.submit(
                f"storm{len(self._jobs)}", images=self._job_images, batch=8, steps=2
            ))  # fmt: skip

    def _holds_up_submitting(self) -> bool:
        postgres = self._farm.servers.postgres
        return postgres is not None and not postgres.running

    def _calm(self, begun: float) -> None:
        """No more faults: all that was begun must now end by itself."""
        while self._undo:
            self._tend()
            time.sleep(POLL_S)
        self._farm.mend()
        self._say("calm: no more faults")
        quiet, seen = time.monotonic(), -1
        while (left := self._left()) and time.monotonic() - quiet < CALM_S:
            self._tend()
            if left != seen:
                quiet, seen = time.monotonic(), left
            self._tell(begun)
            time.sleep(POLL_S)

    def _left(self) -> int:
        """Images that open jobs still lack, plus what was not submitted."""
        unsent = max(0, self._images - len(self._jobs) * self._job_images)
        try:
            rows = [self._farm.job(name) for name in self._jobs]
        except DatabaseAway:
            return -2
        return unsent + sum(1 + row.images - row.done - row.failed for row in rows if row.is_open)

    def _look(self) -> None:
        for name in self._jobs:
            if self._farm.job(name).is_open:
                self.outcome.unfinished.append(name)
            self.outcome.jobs[name] = check(self._farm, name)
        said = self._farm.command("gc", "--grace", "0")
        self.outcome.collecting = said.stdout + said.stderr
        self.outcome.unseen = sum(check(self._farm, name).orphans for name in self._jobs)
        with self._farm.database.read() as connection:
            rows = connection.execute(
                select(attempt_table.c.outcome, func.count()).group_by(attempt_table.c.outcome)
            ).all()
        self.outcome.attempts = Counter({str(outcome): count for outcome, count in rows})

    def _tell(self, begun: float) -> None:
        if time.monotonic() - self._said_at < SAY_S:
            return
        self._said_at = time.monotonic()
        done = sum(self._farm.done(name) for name in self._jobs)
        self._say(
            f"{self._said_at - begun:.0f} s: {self.outcome.dealt.total()} faults dealt, {len(self._faults)} to come, "
            f"{done} images done in {len(self._jobs)} jobs"
        )


def start_parts(farm: Farm, *, dispatchers: int, workers: int) -> None:
    """Start a farm's parts with clocks that can jump."""
    path = f"{TESTS / 'faults' / 'clock'}:{farm.env['PYTHONPATH']}"
    names = [f"d{n}" for n in range(1, dispatchers + 1)] + [f"w{n}" for n in range(1, workers + 1)]
    for name in names:
        launch = farm.dispatcher if name.startswith("d") else farm.worker
        launch(name, PYTHONPATH=path, SEEDFARM_CLOCK=str(farm.folder / f"{name}.clock"))
