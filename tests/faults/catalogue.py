"""Every kind of fault that a storm may draw, as a function of the farm and what was drawn for it.

A kind returns how to end it, or None where nothing is left to end. It raises NotNow where the farm is not in the state
that it needs (a worker that is down already, no message that waits): the storm tries again a moment later.
"""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from faults import deeds, messages
from faults.crashing import POINTS
from faults.farm import Farm
from faults.http_tap import Trouble
from faults.taps import Tap

Undo = Callable[[], object] | None
CLOCK_JUMPS = (-86400.0, -3600.0, -30.0, 30.0, 3600.0, 86400.0)


class NotNow(Exception):
    """The farm is not in the state that a fault needs."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One fault of a storm: all that its seed decided."""

    number: int
    kind: str
    gap_s: float  # after the one before
    lasts_s: float
    lot: int  # for whatever else the kind chooses

    def one_of(self, farm: Farm, letter: str) -> str:
        """A part of the farm whose name begins so, by lot."""
        return self.pick([name for name in farm.parts if name.startswith(letter)])

    def pick(self, choices: "list[str]") -> str:
        """One of the choices, by lot."""
        return choices[self.lot % len(choices)]


def _kill(*roles: str) -> Callable[[Farm, Drawn], Undo]:
    def kill(farm: Farm, drawn: Drawn) -> Undo:
        if not deeds.kill(farm, drawn.one_of(farm, "w"), *roles):
            raise NotNow
        return None

    return kill


def _power_cut(farm: Farm, drawn: Drawn) -> Undo:
    worker = drawn.one_of(farm, "w")
    _require(farm.runs(worker))
    deeds.kill_worker(farm, worker)
    return None


def _freeze_worker(farm: Farm, drawn: Drawn) -> Undo:
    worker = drawn.one_of(farm, "w")
    _require(farm.runs(worker))
    pids = deeds.freeze(farm, worker)
    return lambda: deeds.thaw(pids)


def _hang_child(farm: Farm, drawn: Drawn) -> Undo:
    child = deeds.pids_of(farm, drawn.one_of(farm, "w")).get("child")
    if child is None:
        raise NotNow
    deeds.send(signal.SIGSTOP, child)
    return lambda: deeds.thaw([child])


def _fill_disk(farm: Farm, drawn: Drawn) -> Undo:
    pids = deeds.fill_disk(farm, drawn.one_of(farm, "w"))
    _require(pids)
    return lambda: deeds.clear_disk(pids)


def _end(letter: str) -> Callable[[Farm, Drawn], Undo]:
    def end(farm: Farm, drawn: Drawn) -> Undo:
        part = drawn.one_of(farm, letter)
        _require(farm.runs(part))
        farm.parts[part].terminate()  # the storm starts again whatever has ended
        return None

    return end


def _clone(farm: Farm, drawn: Drawn) -> Undo:
    worker = drawn.one_of(farm, "w")
    _require(farm.runs(worker))
    clone = farm.start(*farm.way(worker), name=f"clone{drawn.number}")
    return lambda: clone.terminate() if clone.poll() is None else None


def _jump_clock(farm: Farm, drawn: Drawn) -> Undo:
    part = drawn.pick(sorted(farm.parts))
    clock = farm.folder / f"{part}.clock"
    clock.write_text(str(random.Random(drawn.lot).choice(CLOCK_JUMPS)))
    return lambda: clock.write_text("0")


def _kill_leader(farm: Farm, drawn: Drawn) -> Undo:
    leader = farm.leader()
    if leader is None:
        raise NotNow
    deeds.kill_dispatcher(farm, leader)
    return None


def _freeze_leader(farm: Farm, drawn: Drawn) -> Undo:
    leader = farm.leader()
    if leader is None:
        raise NotNow
    pids = deeds.freeze(farm, leader)
    return lambda: deeds.thaw(pids)


def _crash(farm: Farm, drawn: Drawn) -> Undo:
    names = [name for name in farm.parts if name.startswith("d")]
    for name in names:
        if farm.runs(name):
            deeds.kill_dispatcher(farm, name)
    farm.crash(names[0], f"{drawn.pick(list(POINTS))}:{1 + drawn.lot % 3}")
    return None


def _away(which: str) -> Callable[[Farm, Drawn], Undo]:
    def away(farm: Farm, drawn: Drawn) -> Undo:
        tap = _tap(farm, which)
        tap.away()
        return tap.heal

    return away


def _hang(which: str) -> Callable[[Farm, Drawn], Undo]:
    def hang(farm: Farm, drawn: Drawn) -> Undo:
        tap = _tap(farm, which)
        tap.hang()
        return tap.heal

    return hang


def _cut(which: str) -> Callable[[Farm, Drawn], Undo]:
    def cut(farm: Farm, drawn: Drawn) -> Undo:
        _tap(farm, which).cut()
        return None

    return cut


def _trouble(trouble: Trouble) -> Callable[[Farm, Drawn], Undo]:
    def begin(farm: Farm, drawn: Drawn) -> Undo:
        tap = farm.store_tap
        assert tap is not None
        tap.trouble(trouble)
        return tap.heal

    return begin


def _flush(farm: Farm, drawn: Drawn) -> Undo:
    farm.redis.flushall()
    return None


def _restart_broker(*, keep: bool) -> Callable[[Farm, Drawn], Undo]:
    def restart(farm: Farm, drawn: Drawn) -> Undo:
        farm.servers.valkey.restart(keep=keep)
        return None

    return restart


def _roll_back(farm: Farm, drawn: Drawn) -> Undo:
    copy = farm.servers.valkey.snapshot()
    return lambda: farm.servers.valkey.roll_back(copy)


def _restart_database(farm: Farm, drawn: Drawn) -> Undo:
    assert farm.servers.postgres is not None
    farm.servers.postgres.restart()
    return None


def _message(what: Callable[[Farm, str], bool]) -> Callable[[Farm, Drawn], Undo]:
    def play(farm: Farm, drawn: Drawn) -> Undo:
        _require(what(farm, drawn.one_of(farm, "w")))
        return None

    return play


def _divert(farm: Farm, drawn: Drawn) -> Undo:
    workers = sorted(name for name in farm.parts if name.startswith("w"))
    giver = drawn.pick(workers)
    taker = workers[(workers.index(giver) + 1) % len(workers)]
    _require(messages.deliver_to_another(farm, giver, taker))
    return None


def _forge(farm: Farm, drawn: Drawn) -> Undo:
    issued = [chunk for chunk in farm.chunks() if chunk.state == "issued" and chunk.kind == "render"]
    if not issued:
        raise NotNow
    chunk = issued[drawn.lot % len(issued)]
    messages.forge(farm, job=chunk.job, chunk=chunk.number, attempt=chunk.attempt)
    return None


def _tokens(farm: Farm, drawn: Drawn) -> Undo:
    _require(messages.spend_tokens(farm))
    return None


def _tap(farm: Farm, which: str) -> Tap:
    tap: Tap | None = {"broker": farm.broker_tap, "database": farm.sql_tap, "store": farm.store_tap}[which]
    assert tap is not None
    return tap


def _require(ready: object) -> None:
    if not ready:
        raise NotNow


KINDS: dict[str, Callable[[Farm, Drawn], Undo]] = {
    "child killed": _kill("child"),
    "child and semaphore tracker killed": _kill("tracker", "child"),
    "node killed": _kill("node"),
    "supervisor killed": _kill("supervisor"),
    "worker loses power": _power_cut,
    "worker frozen, thawed": _freeze_worker,
    "child hangs": _hang_child,
    "worker's disk full": _fill_disk,
    "worker deployed": _end("w"),
    "worker's name cloned": _clone,
    "clock jumps": _jump_clock,
    "leader killed": _kill_leader,
    "leader frozen, thawed": _freeze_leader,
    "dispatcher deployed": _end("d"),
    "dispatcher dies at a named line": _crash,
    "broker flushed": _flush,
    "broker killed, back": _restart_broker(keep=True),
    "broker killed, back empty": _restart_broker(keep=False),
    "broker set back in time": _roll_back,
    "broker away": _away("broker"),
    "broker hangs": _hang("broker"),
    "broker's connections cut": _cut("broker"),
    "message lost": _message(messages.lose),
    "message doubled": _message(messages.double),
    "message to another worker": _divert,
    "tokens lost": _tokens,
    "manifest forged": _forge,
    "database killed, back": _restart_database,
    "database away": _away("database"),
    "database hangs": _hang("database"),
    "database's connections cut": _cut("database"),
    "store: 20 % errors": _trouble(Trouble(errors=0.2)),
    "store: 20 % resets": _trouble(Trouble(resets=0.2)),
    "store: 20 % truncated": _trouble(Trouble(truncated=0.2)),
    "store: 20 kB/s": _trouble(Trouble(bytes_per_s=20_000)),
    "store away": _away("store"),
    "store hangs": _hang("store"),
}
