"""Sessions on a clock that the test moves, and one worker that says what the test wants."""

from typing import Any

from dispatcher.planning.sessions import AttemptId, Blame, Sessions
from storage.spec import Numbers
from storage.wire.messages import Ended, Heartbeat, Holding, Ranges

ATTEMPT: AttemptId = ("j", 1, 1)
OTHER: AttemptId = ("j", 2, 1)
SILENCE_S, IDLE_S = 30.0, 10.0
NO_RANGES: Ranges = []
BATCH: Ranges = [[4, 8, 1]]
FOUR_TO_SEVEN = Numbers.of(range(4, 8))


class Farm:
    """Sessions, a clock and one worker."""

    def __init__(self) -> None:
        self.sessions = Sessions(silence_s=SILENCE_S, idle_loss_s=IDLE_S)
        self.now = 100.0
        self.count = 0

    def hear(self, holding: AttemptId | None = None, *, after: float = 1.0, **said: Any) -> None:
        self.now += after
        self.count += 1
        self.sessions.hear([beat(self.count, holding, **said)], now=self.now)

    def blame(self, *, boot: str = "b") -> Blame | None:
        """Whose fault the loss of ATTEMPT is; there must be one."""
        loss = self.sessions.lost(ATTEMPT, node="n", boot=boot, now=self.now, forgot=False)
        assert loss is not None
        return self.sessions.blame(ATTEMPT, node="n", loss=loss)

    def hear_nobody(self, *, after: float, complete: bool = False) -> None:
        self.now += after
        self.sessions.hear([], now=self.now, complete=complete)

    def lost(self, attempt: AttemptId = ATTEMPT, *, boot: str = "b", forgot: bool = False) -> str | None:
        return self.sessions.lost(attempt, node="n", boot=boot, now=self.now, forgot=forgot)


def beat(
    count: int, holding: AttemptId | None = None, *, boot: str = "b", child: str = "c", phase: Any = "running",
    batch: Ranges = NO_RANGES, **more: Any,
) -> Heartbeat:  # fmt: skip
    held = None
    if holding is not None:
        job, chunk, attempt = holding
        held = Holding(job=job, chunk=chunk, attempt=attempt, run="r", phase=phase, batch=batch)
    return Heartbeat(
        node="n", boot=boot, child=child, beat=count, device_type="cpu", device="cpu", threads=1, memory_bytes=0,
        renderer="fake", holding=held, **more,
    )  # fmt: skip


def ended(batch: Ranges, *, cause: Any = "died") -> Ended:
    job, chunk, attempt = ATTEMPT
    return Ended(job=job, chunk=chunk, attempt=attempt, batch=batch, cause=cause)
