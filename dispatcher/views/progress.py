"""How far a job is: a reading of SQL and heartbeats, and its rate over the last seconds."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.service.broker import Broker
from storage.errors import BrokerAway
from storage.sql import Database, chunks, jobs
from storage.sql.jobs import JobRow
from storage.states import ChunkState, JobState, Wish
from storage.wire.messages import Heartbeat

WINDOW_S = 20.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One reading."""

    row: JobRow
    workers: Sequence[Heartbeat]
    broker: str  # why workers cannot be seen, or empty
    stored: int = 0  # images that workers have stored of chunks that are not recorded yet

    @property
    def ended(self) -> int:
        """Images made or failed, those still in a worker's hands included."""
        return min(self.row.images, self.row.done + self.row.failed + self.stored)

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to the job any more unless its user wishes it."""
        return not self.row.is_open or (self.row.state == JobState.STOPPED and self.row.wish != Wish.RESUME)

    @property
    def waits_for(self) -> str:
        """Why nothing moves, in a few words; empty while it moves."""
        if self.is_over:
            return ""
        if self.row.state in (JobState.PAUSED, JobState.STOPPED):
            return f"{self.row.state}; 'farm resume {self.row.id}' goes on"
        return self._lacks()

    def _lacks(self) -> str:
        if self.row.is_complete and self.row.has_rules:
            return "judging its images"  # for which no worker is needed
        if self.broker:
            return self.broker
        if not self.workers:
            return "waits for a worker to start"
        if self.row.state == JobState.QUEUED:
            return "waits for a worker to read its models"
        return "reading its models" if self.row.state == JobState.RESOLVING else ""


class Rate:
    """Images a second over the last 20 s of readings."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def add(self, ended: int, *, now: float) -> None:
        """Take in one reading; a count never goes back."""
        highest = max(ended, self._points[-1][1] if self._points else 0)
        self._points.append((now, highest))
        while len(self._points) > 2 and now - self._points[1][0] > WINDOW_S:
            self._points.popleft()

    @property
    def per_second(self) -> float | None:
        """None until something was made."""
        if len(self._points) < 2:
            return None
        (began, first), (ends, last) = self._points[0], self._points[-1]
        return (last - first) / (ends - began) if last > first and ends > began else None


def read_progress(database: Database, broker: Broker | None, job_id: str) -> Progress:
    """Read a job and who works. A broker that is away only hides the workers. Raises DatabaseAway."""
    workers, away = _hear(broker)  # first: a chunk that is recorded meanwhile must not count twice
    with database.read() as connection:
        row = jobs.get(connection, job_id)
        issued = {chunk.number for chunk in chunks.in_state(connection, ChunkState.ISSUED, job_id=job_id)}
    held = [beat.holding for beat in workers if beat.holding is not None and beat.holding.job == job_id]
    stored = sum(holding.images for holding in held if holding.chunk in issued)
    return Progress(row, workers, away, stored if row.is_open else 0)


def _hear(broker: Broker | None) -> tuple[list[Heartbeat], str]:
    try:
        return ([], "") if broker is None else (broker.hear().heartbeats, "")
    except BrokerAway as error:
        return [], str(error)


def describe_worker(beat: Heartbeat) -> str:
    """What a worker does, in a few words."""
    held = beat.holding
    if held is None:
        return "idle"
    if held.phase == "running" and held.steps:
        return f"step {held.step}/{held.steps}, {held.images}/{held.of} images stored"
    return f"{held.phase}, {held.images}/{held.of} images stored" if held.of else held.phase


def duration(seconds: float) -> str:
    """Seconds as 0:07, 12:40 or 3:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
