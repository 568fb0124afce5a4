"""What is done to processes: signals to each part of a worker, to dispatchers, and limits on what they may write."""

import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

from farm_desk import descendants, is_alive
from faults.farm import Farm, until_gone

NO_LIMIT = resource.RLIM_INFINITY


def pids_of(farm: Farm, worker: str) -> dict[str, int]:
    """The processes of a worker by role: supervisor, node, child, tracker; those that run."""
    supervisor = farm.parts[worker].pid
    found = {"supervisor": supervisor} if farm.runs(worker) else {}
    for pid in descendants(supervisor) if found else []:
        role = _role(pid)
        if role is not None and is_alive(pid):
            found[role] = pid  # the youngest, where an old one is on its way out
    return found


def kill(farm: Farm, worker: str, *roles: str) -> bool:
    """SIGKILL to the processes of a worker by role, as fast as one can. False if one was not there."""
    found = pids_of(farm, worker)
    if not set(roles) <= found.keys():
        return False
    send(signal.SIGKILL, *(found[role] for role in roles))
    until_gone([found[role] for role in roles])
    return True


def kill_worker(farm: Farm, worker: str) -> None:
    """SIGKILL to everything of a worker, as a power cut does it."""
    pids = [farm.parts[worker].pid, *descendants(farm.parts[worker].pid)]
    send(signal.SIGSTOP, *pids)  # or the first deaths would set others off
    send(signal.SIGKILL, *pids)
    farm.parts[worker].wait(timeout=10)
    until_gone(pids)


def kill_dispatcher(farm: Farm, name: str) -> None:
    """SIGKILL to a dispatcher."""
    farm.parts[name].kill()
    farm.parts[name].wait(timeout=10)


def freeze(farm: Farm, name: str) -> list[int]:
    """SIGSTOP to everything of a part. Returns what to thaw."""
    pids = [farm.parts[name].pid, *descendants(farm.parts[name].pid)]
    send(signal.SIGSTOP, *pids)
    return pids


def thaw(pids: list[int]) -> None:
    """SIGCONT to what was frozen."""
    send(signal.SIGCONT, *pids)


def fill_disk(farm: Farm, worker: str) -> list[int]:
    """Let no process of a worker write to any file: EFBIG, which means no room just as ENOSPC does. No root needed."""
    pids = [pid for role, pid in pids_of(farm, worker).items() if role in ("child", "node")]
    for pid in pids:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, NO_LIMIT))
    return pids


def clear_disk(pids: list[int]) -> None:
    """Give back the room that `fill_disk` took."""
    for pid in pids:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (NO_LIMIT, NO_LIMIT))


def send(number: signal.Signals, *pids: int) -> None:
    """A signal to whichever of them still live."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _role(pid: int) -> str | None:
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        if "semaphore_tracker" in command:
            return "tracker"
        if "spawn_main" in command:
            return "child"
        if "worker.node" in command:
            return "node"
    return None
