"""Keeps one node alive: starts it, starts it again, and does what its life file asks for."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from worker.child.life import Life, LifeFile, has_child, life_path, process_runs, read_life
from worker.devices import NodePlan, own_environment
from worker.host.notices import Notices
from worker.host.watchdog import Finding, Sight, judge
from worker.node import NAME_TAKEN

log = logging.getLogger(__name__)

FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 30.0
STEADY_S: Final = 60.0  # a node that lived that long starts with the first backoff again
_FROZEN_S: Final = 1.0  # a longer gap between two looks: this process stood still, and so may its children have
_THAW_S: Final = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What all nodes of a host share."""

    home: Path
    scale: float  # of every waiting time
    notices: Notices


@dataclass(slots=True)
class Keeper:
    """One node and what is known of it. `look` does what is due."""

    plan: NodePlan
    shared: Circumstances
    process: "subprocess.Popen[bytes] | None" = None
    refused: bool = False  # another worker has its name
    quarantined: bool = False
    _lifeline: int = -1  # our end of the pipe
    _started: float = 0.0
    _backoff_s: float = FIRST_BACKOFF_S
    _due: float = 0.0  # when it may start (again)
    _since: float = field(default_factory=time.monotonic)
    _looked: float = field(default_factory=time.monotonic)
    _fair_from: float = 0.0  # before that nobody is blamed for silence
    _dead: tuple[str, float] | None = None  # the child that was seen dead, and since when
    _killed: str | None = None  # the child that was killed for hanging
    _life_file: LifeFile | None = None

    @property
    def rests(self) -> bool:
        """Whether it will not be started again."""
        return self.refused or self.quarantined

    def look(self) -> None:
        """Start it if it is due, bury it if it is dead, else see how its child does."""
        now = time.monotonic()
        if now - self._looked > _FROZEN_S:
            self._fair_from = now + _THAW_S
        self._looked = now
        if self.rests:
            return
        if self.process is None:
            if now >= self._due:
                self._start()
            return
        code = self.process.poll()
        if code is None:
            self._watch(self.process.pid, now)
        else:
            self._bury(code)

    def kill(self) -> None:
        """End whatever is left of its group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _start(self) -> None:
        if self._life_file is None:
            self._life_file = LifeFile(life_path(self.shared.home, self.plan.name))
            if self._life_file.problem is not None:
                names = {"node": self.plan.name, "reason": self._life_file.problem}
                log.warning("no life file, so nobody will notice if the worker hangs", extra=names)
            self.shared.notices.in_use(self.plan.name)
        theirs, self._lifeline = os.pipe()
        command = [sys.executable, "-m", "worker.node", "--node", self.plan.name, "--lifeline", str(theirs)]
        try:
            self.process = subprocess.Popen(
                command,
                env=own_environment(os.environ, self.plan),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # Celery's greetings; logs go to stderr
                pass_fds=[theirs],
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        self._started = time.monotonic()
        log.info("node started", extra={"node": self.plan.name, "pid": self.process.pid, "threads": self.plan.threads})

    def _bury(self, code: int) -> None:
        self.kill()
        os.close(self._lifeline)
        self.process = None
        self._dead = None
        self.refused = code == NAME_TAKEN
        if self.rests:
            return
        if time.monotonic() - self._started > STEADY_S * self.shared.scale:
            self._backoff_s = FIRST_BACKOFF_S
        wait_s = self._backoff_s * self.shared.scale
        self._due = time.monotonic() + wait_s
        log.warning("node died", extra={"node": self.plan.name, "code": code, "again_in_s": wait_s})
        self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)

    def _watch(self, pid: int, now: float) -> None:
        if self._life_file is None or self._life_file.problem is not None:
            return
        life, parent = read_life(life_path(self.shared.home, self.plan.name))
        ours = life is not None and life.parent == pid
        alive = life is not None and ours and process_runs(life.pid, began=life.began)
        if life is not None and ours and not alive:
            self._note_death(life, now)
        sight = Sight(
            now=now, node=pid, parent=parent, life=life, alive=alive, watched_since=self._since,
            dead_since=None if self._dead is None else self._dead[1],
            barren=life is not None and ours and not alive and has_child(pid) is False,
        )  # fmt: skip
        finding = judge(sight, scale=self.shared.scale) if now >= self._fair_from else None
        if finding is not None:
            self._act(finding, life)

    def _note_death(self, life: Life, now: float) -> None:
        """A child is dead and its node is not: what it held is told at once, before the next one has torch."""
        if self._life_file is None or (self._dead is not None and self._dead[0] == life.child):
            return
        self._dead = (life.child, now)
        if life.cause is None:
            self._life_file.set_cause(life.child, "died")
        ended = life.ended(boot=life.boot)
        if life.hand is not None and ended is not None:
            images = {"images": str(ended.batch)} if ended.batch else {}
            names = {"job": ended.job, "chunk": ended.chunk, "attempt": ended.attempt, **images}
            log.warning("child died", extra={"node": self.plan.name, "cause": ended.cause, **names})
            self.shared.notices.child_died(self.plan.name, life.child, ended)

    def _act(self, finding: Finding, life: Life | None) -> None:
        names = {"node": self.plan.name, "reason": finding.reason}
        if finding.action == "restart":
            log.error("starting the node anew", extra=names)
            self.kill()
        elif finding.action == "quarantine":
            log.error("node quarantined; start farm-worker again once its device is well", extra=names)
            self.quarantined = True
            self.kill()
            if self.process is not None:
                self.process.wait()
                self._bury(0)
            boot = life.boot if life is not None else ""
            self.shared.notices.quarantined(self.plan.name, boot=boot, reason=finding.reason)
        elif life is not None and self._killed != life.child:
            self._killed = life.child
            log.error("child hangs, killing it", extra={**names, "pid": life.pid})
            if self._life_file is not None:
                self._life_file.set_cause(life.child, "hung")
            with contextlib.suppress(ProcessLookupError):
                os.kill(life.pid, signal.SIGKILL)
