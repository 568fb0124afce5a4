"""Who is alive, by what was heard and when, on this process' own clock.

Silence counts only while we could hear: after a gap in our own hearing every worker gets a fresh lease. The broker, SQL
and the store all count as ears: without any of them nothing could be said about a chunk.
Pure: the clock is an argument.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from storage.spec import Numbers
from storage.wire.messages import Heartbeat, Ranges

AttemptId = tuple[str, int, int]  # job, chunk, attempt
Loss = Literal[
    "worker restarted",
    "worker left",
    "worker silent",
    "worker's process died",
    "ended without a manifest",
    "message lost",
    "broker lost its memory",
]
STORED_GRACE_S = (
    3.0  # times the farm's scale; between a worker letting go of a chunk and our reading of its `record` message
)


@dataclass(frozen=True, slots=True)
class Blame:
    """The images of a run may have ended it themselves."""

    cause: Literal["died", "hung"]
    suspects: Numbers | None  # those in the pipeline; None: nobody knows


@dataclass(slots=True)
class Session:
    """One boot of one worker, as last heard."""

    heartbeat: Heartbeat
    heard_at: float  # seconds, monotonic: when `beat` last changed
    idle_since: float  # when it last reported to hold nothing, having held something before
    has_spoken: bool = True  # since we can hear: before, its key may have run out unheard
    has_left: bool = False  # it took its heartbeat away
    held: dict[AttemptId, tuple[str, float]] = field(default_factory=dict)  # -> the child that held it, last seen when
    batches: dict[AttemptId, Ranges | None] = field(default_factory=dict)  # -> last seen in the pipeline; None: drawn


class Sessions:
    """All workers that were heard of."""

    def __init__(self, *, silence_s: float, idle_loss_s: float, grace_s: float = STORED_GRACE_S) -> None:
        self._silence_s = silence_s
        self._idle_loss_s = idle_loss_s
        self._grace_s = grace_s
        self._sessions: dict[str, Session] = {}
        self._waiting_since: dict[AttemptId, float] = {}
        self._listening_since: float | None = None

    def hear(self, heartbeats: Sequence[Heartbeat], *, now: float, complete: bool = False) -> None:
        """Take in one reading of all heartbeats.

        Args:
            heartbeats: As read.
            now: Seconds, monotonic.
            complete: Whether the broker remembers: then a worker whose key is gone took it away and has left.
        """
        if self._listening_since is None:
            self._listening_since = now
            for session in self._sessions.values():
                session.heard_at = session.idle_since = now
                session.has_spoken = False
        for beat in heartbeats:
            self._take(beat, now)
        if complete:
            for node in self._sessions.keys() - {beat.node for beat in heartbeats}:
                self._sessions[node].has_left = self._sessions[node].has_spoken

    def deaf(self) -> None:
        """The broker, SQL or the store did not answer: what was silent meanwhile may have spoken."""
        self._listening_since = None
        self._waiting_since.clear()

    def live(self, *, now: float) -> list[Heartbeat]:
        """The last words of every worker that is not silent."""
        sessions = sorted(self._sessions.items())
        return [
            entry.heartbeat for _, entry in sessions if not entry.has_left and now - entry.heard_at <= self._silence_s
        ]

    def gone(self, *, now: float) -> list[str]:
        """Nodes that have been silent for long; they are forgotten."""
        names = [node for node, entry in self._sessions.items() if now - entry.heard_at > 4 * self._silence_s]
        for node in names:
            del self._sessions[node]
        return names

    def lost(self, attempt: AttemptId, *, node: str, boot: str, now: float, forgot: bool) -> Loss | None:
        """Why an issued attempt must be given up, or None while it may still come to something.

        Args:
            attempt: The issued attempt.
            node: The worker it was sent to.
            boot: That worker's boot.
            now: Seconds, monotonic.
            forgot: Whether the broker lost its memory since the attempt was issued.
        """
        if self._listening_since is None:
            return None
        since = self._waiting_since.setdefault(attempt, now)
        session = self._sessions.get(node)
        if session is None:
            return "worker silent" if now - self._listening_since > self._silence_s else None
        if self._is_spooled(attempt, session, now=now):
            return None
        if session.heartbeat.boot != boot:
            return "worker restarted"
        return self._gone(session, now=now) or self._lost_in_session(
            attempt, session, since=since, now=now, forgot=forgot
        )

    def blame(self, attempt: AttemptId, *, node: str, loss: Loss) -> Blame | None:
        """Whether the images of a lost attempt may have ended it; None: the farm lost it, and nothing counts.

        Args:
            attempt: The lost attempt.
            node: The worker that had it.
            loss: What `lost` said.
        """
        session = self._sessions.get(node)
        if session is None or loss not in ("worker's process died", "worker restarted"):
            return None
        ended = session.heartbeat.ended if _ended(session.heartbeat) == attempt else None
        if ended is not None and ended.batch:
            return Blame(ended.cause, _numbers(ended.batch))
        if loss == "worker restarted":
            return None
        last = session.batches.get(attempt, [])
        if ended is not None and (ended.cause == "hung" or last is not None):
            return Blame(ended.cause, None)
        return None if last is None else Blame("died", _numbers(last))

    def forget(self, attempt: AttemptId) -> None:
        """An attempt ended."""
        self._waiting_since.pop(attempt, None)
        for session in self._sessions.values():
            session.held.pop(attempt, None)
            session.batches.pop(attempt, None)

    def keep(self, attempts: Iterable[AttemptId]) -> None:
        """Forget every attempt but these: what was recorded meanwhile needs no watching."""
        kept = set(attempts)
        self._waiting_since = {attempt: since for attempt, since in self._waiting_since.items() if attempt in kept}
        for session in self._sessions.values():
            session.held = {attempt: seen for attempt, seen in session.held.items() if attempt in kept}
            session.batches = {attempt: batch for attempt, batch in session.batches.items() if attempt in kept}

    def _gone(self, session: Session, *, now: float) -> Loss | None:
        if session.has_left:
            return "worker left"
        return "worker silent" if now - session.heard_at > self._silence_s else None

    def _is_spooled(self, attempt: AttemptId, session: Session, *, now: float) -> bool:
        """Whether a live worker, of whatever boot, has the attempt's images on its disk."""
        named = any((name.job, name.chunk, name.attempt) == attempt for name in session.heartbeat.spooled)
        return named and self._gone(session, now=now) is None

    def _lost_in_session(
        self, attempt: AttemptId, session: Session, *, since: float, now: float, forgot: bool
    ) -> Loss | None:
        beat = session.heartbeat
        if _holding(beat) == attempt:
            return None
        child, seen = session.held.get(attempt, (beat.child, None))
        if child != beat.child or _ended(beat) == attempt:
            return "worker's process died"
        if seen is not None:
            return "ended without a manifest" if now - seen > self._grace_s else None
        if forgot:
            return "broker lost its memory"
        is_idle = beat.holding is None and beat.beat > 0  # beat 0: of the supervisor, while there is no child
        if is_idle and now - max(since, session.idle_since) > self._idle_loss_s:
            return "message lost"
        return None

    def _take(self, beat: Heartbeat, now: float) -> None:
        session = self._sessions.get(beat.node)
        if session is None or session.heartbeat.boot != beat.boot:
            self._sessions[beat.node] = session = Session(beat, heard_at=now, idle_since=now)
        elif (beat.child, beat.beat) != (session.heartbeat.child, session.heartbeat.beat):
            is_new = beat.child != session.heartbeat.child
            if is_new or (beat.holding is None and session.heartbeat.holding is not None):
                session.idle_since = now
            session.heartbeat, session.heard_at, session.has_spoken = beat, now, True
        session.has_left = False
        held = _holding(beat)
        if held is not None and beat.holding is not None:
            session.held[held] = (beat.child, now)
            drawn = beat.holding.phase in ("uploading", "stored") and not beat.holding.batch
            session.batches[held] = None if drawn else beat.holding.batch


def _ended(beat: Heartbeat) -> AttemptId | None:
    ended = beat.ended
    return None if ended is None else (ended.job, ended.chunk, ended.attempt)


def _numbers(ranges: Ranges) -> Numbers | None:
    try:
        return Numbers.from_json(ranges) or None
    except (TypeError, ValueError):
        return None


def _holding(beat: Heartbeat) -> AttemptId | None:
    held = beat.holding
    return None if held is None else (held.job, held.chunk, held.attempt)
