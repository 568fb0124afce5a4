"""How long the device's thread may show no progress before its process counts as hung. Pure: the clock is an argument.

A step has a limit that follows from the steps before it. Loading, and whatever a kind of batch does for the first
time (kernels are chosen, code is compiled), have fixed limits of their own, since nothing was measured yet.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

LOAD_S: Final = 30 * 60  # 24 GB from a slow network disk at 15 MB/s
FIRST_S: Final = 10 * 60  # one step of a large model on few CPU cores takes minutes
COMPILE_S: Final = 20 * 60  # torch.compile with max-autotune on a slow host
STEP_S: Final = 15  # below that a busy host looks like a hung one
FACTOR: Final = 10  # times the median
FLOOR_S: Final = 0.5  # whatever the scale: a busy host stops a process for that long
_KINDS: Final = 16  # that are remembered: sizes of one job that take turns
_GAPS: Final = 64  # of one kind


@dataclass(slots=True)
class _Pace:
    """What was measured of one kind of batch."""

    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS))  # seconds between two steps
    heads: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS))  # until the first step: encoding
    tails: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS))  # after the last: decoding
    wholes: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS))  # the whole call, per step


class StepClock:
    """Says how long the next piece of work may take."""

    def __init__(self, *, scale: float = 1.0) -> None:
        """Start with nothing measured; `scale` multiplies every limit (`Settings.time_scale`)."""
        self._scale = scale
        self._paces: OrderedDict[Hashable, _Pace] = OrderedDict()
        self._pace = _Pace()
        self._unknown_s: float = FIRST_S
        self._begun = self._last = 0.0
        self._steps = 0

    def reset(self) -> None:
        """Forget all: other models were loaded, and what was compiled may be compiled anew."""
        self._paces.clear()

    def loading(self) -> float:
        """Seconds that loading may take."""
        return max(FLOOR_S, LOAD_S * self._scale)

    def begin(self, kind: Hashable, *, compiles: bool, now: float) -> float:
        """A batch goes into the pipeline; seconds until its first step.

        Args:
            kind: Batches of one kind take equally long: models, size, plan.
            compiles: Whether the plan compiles the model.
            now: Seconds, monotonic.
        """
        self._pace = self._paces.setdefault(kind, _Pace())
        self._paces.move_to_end(kind)
        while len(self._paces) > _KINDS:
            self._paces.popitem(last=False)
        self._unknown_s = COMPILE_S if compiles else FIRST_S
        self._begun = self._last = now
        self._steps = 0
        return self._limit(self._pace.heads)

    def step(self, *, last: bool, now: float) -> float:
        """A step is done; seconds until the next one, or after the last until the pictures are there."""
        (self._pace.gaps if self._steps else self._pace.heads).append(now - self._last)
        self._last = now
        self._steps += 1
        return self._limit(self._pace.tails if last else self._pace.gaps)

    def shift(self, seconds: float) -> None:
        """So long nothing was to be expected."""
        self._begun += seconds
        self._last += seconds

    def end(self, *, now: float) -> None:
        """The pipeline gave its pictures."""
        if self._steps:
            self._pace.tails.append(now - self._last)
            self._pace.wholes.append((now - self._begun) / self._steps)

    def _limit(self, measured: "deque[float]") -> float:
        """For what was measured so often already. The whole counts too: a GPU computes behind its thread's back."""
        if not measured:
            return max(FLOOR_S, self._unknown_s * self._scale)
        whole = median(self._pace.wholes) if self._pace.wholes else 0.0
        usual = max(median(measured), whole)
        return max(FLOOR_S, STEP_S * self._scale, FACTOR * usual)
