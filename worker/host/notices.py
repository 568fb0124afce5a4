"""What a supervisor tells the farm on behalf of its nodes: how a child died, and that a device is out of use.

The next child tells of the one before it too, but it first imports torch, and those ten seconds are no reason to
leave a chunk undone. All is best effort, and a level: a notice that Redis forgets is said again.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import redis

from storage.wire import keys
from storage.wire.messages import Ended, Heartbeat
from worker.child.link import HEARTBEAT_TTL_S, connect

log = logging.getLogger(__name__)

QUARANTINE_TTL_S: Final = 7 * 24 * 3600  # of a host that never comes back
_AGAIN_S: Final = 60.0  # a broker that lost its memory hears of a quarantine anew
_ROUND_S: Final = 1.0


class Notices(threading.Thread):
    """The thread that says it, so that a broker that hangs does not keep the supervisor from its watch."""

    def __init__(self, broker_url: str, *, scale: float = 1.0) -> None:
        """Say nothing yet; `start` it once. `scale` multiplies the waits (`Settings.time_scale`)."""
        super().__init__(name="notices", daemon=True)
        self._redis = connect(broker_url)
        self._round_s, self._again_s = _ROUND_S * scale, _AGAIN_S * scale
        self._lock = threading.Lock()
        self._left: dict[str, Callable[[], None]] = {}  # what is still to be said; a newer one replaces it
        self._quarantined: dict[str, str] = {}
        self._wake = threading.Event()

    def child_died(self, node: str, child: str, ended: Ended) -> None:
        """A child is dead: its worker holds nothing now, and the next child is on its way."""
        self._put(f"died {node}", lambda: self._overwrite_beat(node, child, ended))

    def quarantined(self, node: str, *, boot: str, reason: str) -> None:
        """A node will not be started again before somebody starts farm-worker anew."""
        with self._lock:
            self._quarantined[node] = json.dumps({"reason": reason, "since": round(time.time(), 3)})
        self._put(f"quarantine {node}", self._say_quarantines)
        self._put(f"died {node}", lambda: self._remove_beat(node, boot))

    def in_use(self, node: str) -> None:
        """A node is started: whatever was said of its device is over."""
        self._put(f"quarantine {node}", lambda: self._forget(node))

    def run(self) -> None:
        """Say what there is, again and again until it was heard."""
        again = time.monotonic() + self._again_s
        while True:
            self._wake.wait(self._round_s)
            self._wake.clear()
            if time.monotonic() > again:
                self._put("quarantines", self._say_quarantines)
                again = time.monotonic() + self._again_s
            self._say_all()

    def _put(self, name: str, say: Callable[[], None]) -> None:
        with self._lock:
            self._left[name] = say
        self._wake.set()

    def _say_all(self) -> None:
        with self._lock:
            left = dict(self._left)
        for name, say in left.items():
            try:
                say()
            except (redis.RedisError, OSError) as error:
                log.debug("notice not heard", extra={"notice": name, "reason": error})
                return
            with self._lock:
                if self._left.get(name) is say:
                    del self._left[name]

    def _overwrite_beat(self, node: str, child: str, ended: Ended) -> None:
        beat = self._beat(node)
        if beat is None or beat.child != child:
            return  # the next one speaks already
        word = beat.model_copy(
            update={
                "child": keys.new_id(), "beat": 0, "holding": None, "resident": [], "ended": ended,
                "trouble": "its process died, another one is starting",
            },
        )  # fmt: skip
        self._redis.set(keys.worker_key(node), word.model_dump_json(), ex=HEARTBEAT_TTL_S)

    def _remove_beat(self, node: str, boot: str) -> None:
        beat = self._beat(node)
        if beat is not None and beat.boot == boot:
            self._redis.delete(keys.worker_key(node))

    def _say_quarantines(self) -> None:
        with self._lock:
            said = dict(self._quarantined)
        for node, text in said.items():
            self._redis.set(keys.quarantine_key(node), text, ex=QUARANTINE_TTL_S)

    def _forget(self, node: str) -> None:
        self._redis.delete(keys.quarantine_key(node))

    def _beat(self, node: str) -> Heartbeat | None:
        raw = self._redis.get(keys.worker_key(node))
        try:
            return Heartbeat.model_validate_json(raw) if isinstance(raw, bytes) else None
        except ValueError:
            return None
