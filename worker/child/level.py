"""What the device's thread and the link tell each other: the present state, never a queue of events.

Each field has one writer and is replaced whole, so neither side needs a lock and neither ever waits for the other.
What the supervisor has to know stands in the life file too: what is in the pipeline, and until when the present piece
of work must be done.
"""

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from storage.wire.messages import AttemptName, Ended, Holding, Ranges
from worker.child.life import LifeFile
from worker.child.limits import StepClock

_SHOWN: Final = 300  # letters of what cannot be read


class Level:
    """The state of one child."""

    def __init__(self, life: LifeFile | None = None, *, scale: float = 1.0) -> None:
        """Begin with empty hands.

        Args:
            life: Where the supervisor reads; None: nobody watches.
            scale: Multiplies the limits of a step (`Settings.time_scale`).
        """
        # Written by the device's thread (and `images` by the upload threads, under a lock).
        self.holding: Holding | None = None
        self.resident: tuple[str, ...] = ()
        self.task_id: str | None = None  # Celery's, for progress events
        self.lacks: str | None = None  # for people: what the run waits to read
        # Written by whoever keeps the spool, and by whoever meets the trouble.
        self.spooled: tuple[AttemptName, ...] = ()
        self.trouble: str | None = None  # for people: what keeps this worker from working
        # Written by the link and by the signal handler.
        self.ended: Ended | None = None  # how the child before this one died, until everybody has heard
        self.stop_jobs: frozenset[str] = frozenset()
        self.stop_all = False  # the device is wanted back
        self.stopping = threading.Event()  # this process is to end: it was told by a signal
        self.life = life or LifeFile(None)
        self.scale = scale
        self._clock = StepClock(scale=scale)
        self._known: frozenset[str] = frozenset()  # models that were resident when the last batch began
        self._calling = False  # the pipeline
        self._deadline = 0.0  # as it stands in the life file
        self._lock = threading.Lock()

    def hold(self, holding: Holding | None, *, task_id: str | None = None) -> None:
        """Take a chunk into the hands, or put it down (None)."""
        with self._lock:
            self.holding = holding
            self.task_id = task_id if holding else None
        self._set_deadline(0)
        self.life.take_in_hand(holding)

    def update(self, **changes: object) -> None:
        """Change fields of what is held: phase, step, steps."""
        with self._lock:
            if self.holding is not None:
                self.holding = self.holding.model_copy(update=changes)

    def count_stored(self) -> None:
        """One image more lies in the store."""
        with self._lock:
            if self.holding is not None:
                self.holding = self.holding.model_copy(update={"images": self.holding.images + 1})

    def set_lacks(self, said: str | None) -> None:
        """Say what cannot be read now; None: nothing any more."""
        self.lacks = None if said is None else " ".join(said.split())[:_SHOWN]

    @contextmanager
    def loading(self) -> Iterator[None]:
        """What happens inside is the resolving or loading of one model; it has a limit of its own."""
        self._set_deadline(time.monotonic() + self._clock.loading())
        try:
            yield
        finally:
            self._set_deadline(0)

    @contextmanager
    def batch(self, ranges: Ranges, *, kind: Hashable, steps: int, compiles: bool = False) -> Iterator[None]:
        """What happens inside is one call of the pipeline; `step` is called at each of its steps.

        Args:
            ranges: The images that go through it; padding is left out.
            kind: Calls of one kind take equally long: models, mode, size, plan.
            steps: That one image takes.
            compiles: Whether the plan compiles the model.
        """
        resident = frozenset(self.resident)
        if resident - self._known:  # something was loaded
            self._clock.reset()
        self._known = resident
        self.update(phase="running", step=0, steps=steps, batch=ranges)
        self.life.take_in_hand(self.holding)
        now = time.monotonic()
        self._set_deadline(now + self._clock.begin(kind, compiles=compiles, now=now))
        self._calling = True
        try:
            yield
            self._clock.end(now=time.monotonic())
        finally:
            self._calling = False
            self._set_deadline(0)
            self.update(batch=[])
            self.life.take_in_hand(self.holding)

    def step(self, step: int, steps: int) -> None:
        """One step of the pipeline call is done."""
        self.update(step=step, steps=steps)
        if not self._calling:
            return
        now = time.monotonic()
        self._set_deadline(now + self._clock.step(last=step >= steps, now=now))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What happens inside waits for the object store, however long: the clock of a pipeline call stands still."""
        begun, deadline = time.monotonic(), self._deadline
        self._set_deadline(0)
        try:
            yield
        finally:
            waited = time.monotonic() - begun
            self._clock.shift(waited)
            self._set_deadline(deadline + waited if deadline else 0)

    def must_stop(self, job: str) -> bool:
        """Whether a chunk of `job` is to end at the next step."""
        return self.stopping.is_set() or self.stop_all or job in self.stop_jobs

    def _set_deadline(self, at: float) -> None:
        self._deadline = at
        self.life.set_deadline(at)
