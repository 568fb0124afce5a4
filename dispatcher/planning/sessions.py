"""Who is alive, by what was heard and when, on this process' own clock.

Silence counts only while we could hear: after a gap in our own hearing every worker gets a fresh lease.
Pure: the clock is an argument.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from storage.wire.messages import Heartbeat

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
STORED_GRACE_S = 3.0  # between a worker letting go of a chunk and our reading of its `record` message


@dataclass(slots=True)
class Session:
    """One boot of one worker, as last heard."""

    heartbeat: Heartbeat
    heard_at: float  # seconds, monotonic: when `beat` last changed
    idle_since: float  # when it last reported to hold nothing, having held something before
    has_left: bool = False  # it took its heartbeat away
    held: dict[AttemptId, tuple[str, float]] = field(default_factory=dict)  # -> the child that held it, last seen when


class Sessions:
    """All workers that were heard of."""

    def __init__(self, *, silence_s: float, idle_loss_s: float) -> None:
        self._silence_s = silence_s
        self._idle_loss_s = idle_loss_s
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
        for beat in heartbeats:
            self._take(beat, now)
        if complete:
            for node in self._sessions.keys() - {beat.node for beat in heartbeats}:
                self._sessions[node].has_left = True

    def deaf(self) -> None:
        """The broker did not answer: what was silent meanwhile may have spoken."""
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
        if session.heartbeat.boot != boot:
            return "worker restarted"
        if session.has_left:
            return "worker left"
        if now - session.heard_at > self._silence_s:
            return "worker silent"
        return self._lost_in_session(attempt, session, since=since, now=now, forgot=forgot)

    def forget(self, attempt: AttemptId) -> None:
        """An attempt ended."""
        self._waiting_since.pop(attempt, None)
        for session in self._sessions.values():
            session.held.pop(attempt, None)

    def keep(self, attempts: Iterable[AttemptId]) -> None:
        """Forget every attempt but these: what was recorded meanwhile needs no watching."""
        kept = set(attempts)
        self._waiting_since = {attempt: since for attempt, since in self._waiting_since.items() if attempt in kept}
        for session in self._sessions.values():
            session.held = {attempt: seen for attempt, seen in session.held.items() if attempt in kept}

    def _lost_in_session(
        self, attempt: AttemptId, session: Session, *, since: float, now: float, forgot: bool
    ) -> Loss | None:
        if _holding(session.heartbeat) == attempt:
            return None
        if attempt in session.held:
            child, seen = session.held[attempt]
            if child != session.heartbeat.child:
                return "worker's process died"
            return "ended without a manifest" if now - seen > STORED_GRACE_S else None
        if forgot:
            return "broker lost its memory"
        idle = session.heartbeat.holding is None
        if idle and now - max(since, session.idle_since) > self._idle_loss_s:
            return "message lost"
        return None

    def _take(self, beat: Heartbeat, now: float) -> None:
        session = self._sessions.get(beat.node)
        if session is None or session.heartbeat.boot != beat.boot:
            self._sessions[beat.node] = session = Session(beat, heard_at=now, idle_since=now)
        elif (beat.child, beat.beat) != (session.heartbeat.child, session.heartbeat.beat):
            if beat.holding is None and session.heartbeat.holding is not None:
                session.idle_since = now
            session.heartbeat, session.heard_at = beat, now
        session.has_left = False
        held = _holding(beat)
        if held is not None:
            session.held[held] = (beat.child, now)


def _holding(beat: Heartbeat) -> AttemptId | None:
    held = beat.holding
    return None if held is None else (held.job, held.chunk, held.attempt)
