"""Keeps one node alive per device, and leaves no process behind.

Every node leads a process group of its own, so that a terminal's Ctrl-C reaches the supervisor alone and a dead node's
children can be swept up. Each holds one end of a pipe: should the supervisor be killed, the pipe closes and they end.

What a node's child does stands in its life file, which is read a few times a second: a child that hangs is killed, a
node that can have no child any more is started anew, and one whose device keeps breaking is quarantined: it stays
down until farm-worker is started again. A host whose nodes are all quarantined keeps its supervisor, idle, so that
an operator finds it up and its log speaking.
"""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from worker.devices import NodePlan
from worker.host.keeper import Circumstances, Keeper
from worker.node import stop_limit_s

log = logging.getLogger(__name__)

POLL_S: Final = 0.2


@dataclass(slots=True)
class Supervisor:
    """Starts nodes, tends them, stops them all."""

    plans: Sequence[NodePlan]
    shared: Circumstances
    nodes: list[Keeper] = field(default_factory=list)
    signals: int = 0
    last_signal: int = 0
    _wake: threading.Event = field(default_factory=threading.Event)

    def run(self) -> int:
        """Work until a signal; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.shared.notices.start()
        self.nodes = [Keeper(plan, self.shared) for plan in self.plans]
        try:
            while not self.signals and not all(node.refused for node in self.nodes):
                for node in self.nodes:
                    node.look()
                self._wake.wait(POLL_S)
            self._stop()
        finally:
            for node in self.nodes:
                node.kill()
        if not self.signals:
            return 1
        return 130 if self.last_signal == signal.SIGINT else 0

    def _on_signal(self, number: int, _: Any) -> None:
        self.signals += 1
        self.last_signal = number
        self._wake.set()

    def _stop(self) -> None:
        """Ask every node to end; wait until all have, a second signal comes, or patience ends."""
        running = [node.process for node in self.nodes if node.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + stop_limit_s(self.shared.scale)
        before = self.signals
        self._wake.clear()
        while any(process.poll() is None for process in running):
            if time.monotonic() > deadline or self.signals > max(before, 1):
                log.warning("killing what is left")
                return
            self._wake.wait(POLL_S)
        if running:
            log.info("all nodes ended")
