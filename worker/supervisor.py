"""Keeps one node alive per device, and leaves no process behind.

Every node leads a process group of its own, so that a terminal's Ctrl-C reaches the supervisor alone and a dead node's
children can be swept up. Each holds one end of a pipe: should the supervisor be killed, the pipe closes and they end.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from worker.devices import NodePlan, own_environment
from worker.node import NAME_TAKEN, STOP_LIMIT_S

log = logging.getLogger(__name__)

POLL_S: Final = 0.2
FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 30.0
STEADY_S: Final = 60.0  # a node that lived that long starts with the first backoff again


@dataclass(slots=True)
class Node:
    """One node and what is known of it."""

    plan: NodePlan
    process: "subprocess.Popen[bytes] | None" = None
    lifeline: int = -1  # our end of the pipe
    started: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    due: float = 0.0  # when it may start (again)
    refused: bool = False

    def kill(self) -> None:
        """End whatever is left of its group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


@dataclass(slots=True)
class Supervisor:
    """Starts nodes, starts dead ones again, stops them all."""

    plans: Sequence[NodePlan]
    nodes: list[Node] = field(default_factory=list)
    signals: int = 0
    last_signal: int = 0
    _wake: threading.Event = field(default_factory=threading.Event)

    def run(self) -> int:
        """Work until a signal; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.nodes = [Node(plan) for plan in self.plans]
        try:
            while not self.signals and not all(node.refused for node in self.nodes):
                for node in self.nodes:
                    self._tend(node)
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

    def _tend(self, node: Node) -> None:
        if node.refused:
            return
        if node.process is None:
            if time.monotonic() >= node.due:
                self._start(node)
            return
        code = node.process.poll()
        if code is not None:
            self._bury(node, code)

    def _start(self, node: Node) -> None:
        theirs, node.lifeline = os.pipe()
        command = [sys.executable, "-m", "worker.node", "--node", node.plan.name, "--lifeline", str(theirs)]
        try:
            node.process = subprocess.Popen(
                command,
                env=own_environment(os.environ, node.plan),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # Celery's greetings; logs go to stderr
                pass_fds=[theirs],
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        node.started = time.monotonic()
        log.info("node started", extra={"node": node.plan.name, "pid": node.process.pid, "threads": node.plan.threads})

    def _bury(self, node: Node, code: int) -> None:
        node.kill()
        os.close(node.lifeline)
        node.process = None
        node.refused = code == NAME_TAKEN
        if node.refused:
            return
        if time.monotonic() - node.started > STEADY_S:
            node.backoff_s = FIRST_BACKOFF_S
        node.due = time.monotonic() + node.backoff_s
        log.warning("node died", extra={"node": node.plan.name, "code": code, "again_in_s": node.backoff_s})
        node.backoff_s = min(2 * node.backoff_s, LONGEST_BACKOFF_S)

    def _stop(self) -> None:
        """Ask every node to end; wait until all have, a second signal comes, or patience ends."""
        running = [node.process for node in self.nodes if node.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + STOP_LIMIT_S
        before = self.signals
        self._wake.clear()
        while any(process.poll() is None for process in running):
            if time.monotonic() > deadline or self.signals > max(before, 1):
                log.warning("killing what is left")
                return
            self._wake.wait(POLL_S)
        if running:
            log.info("all nodes ended")
