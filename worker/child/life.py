"""The life file of a node: what its child is doing, where the supervisor can read it whatever becomes of the child.

A thread that hangs inside a driver holds the interpreter, so nothing in the child could tell of it; and a child that
was killed tells nothing at all. So the child keeps a small mapped file: until when the present step must be done, when
it last beat, what is in its pipeline. The supervisor reads it, and so does the next child of that node.

All cells but two carry the id of the child they tell of, so that a new child takes the file over in one write. A file
of another boot of the machine says nothing: the clock began anew, and what was in the pipeline was not at fault.
"""

import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from storage.wire.messages import Ended, Holding
from worker.child.cells import Cell, map_file

Cause = Literal["died", "hung"]
DEVICE_BROKEN: Final = "device"  # the verdict of a child that exits because its device is broken
MOST_BATCH: Final = 4096  # bytes of JSON; ranges that are longer count as unknown
_REMEMBERED: Final = 16  # exits for the device's sake

_NODE: Final = Cell(0, 256)  # written by the Celery parent
_CAUSE: Final = Cell(_NODE.end, 128)  # written by the supervisor
_DEADLINE: Final = Cell(_CAUSE.end, 128)  # by the device's thread, as is the verdict and what is in hand
_VERDICT: Final = Cell(_DEADLINE.end, 128)
_HAND: Final = Cell(_VERDICT.end, MOST_BATCH + 512)
_BEAT: Final = Cell(_HAND.end, 128)  # by the link
_CHILD: Final = Cell(_BEAT.end, MOST_BATCH + 2048)  # at the start, later by the link
SIZE: Final = _CHILD.end


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """What a life file says of the last child of its node. All times are monotonic seconds."""

    child: str
    pid: int
    began: int  # the process, in the kernel's ticks; 0 where it does not say
    parent: int  # pid of the Celery node
    boot: str  # of the Celery node
    started: float
    broken: tuple[float, ...]  # when earlier children of this node exited because of the device
    earlier: Ended | None  # how a child before this one died, as long as that is still to be told
    deadline: float  # 0: there is none
    beat: float  # 0: none yet
    verdict: str
    cause: Cause | None
    hand: Ended | None  # the chunk that it holds; the cause in it means nothing while it is alive

    @property
    def alive(self) -> bool:
        """Whether its process runs, and not another one with its number."""
        return process_runs(self.pid, began=self.began)

    def ended(self, *, boot: str) -> Ended | None:
        """What is to be told of it once it is dead.

        Args:
            boot: Of the node that asks. A child of an earlier boot that nobody saw dying died with its whole node,
                and that is no fault of what it rendered.
        """
        if self.cause is None and boot != self.boot:
            return self.earlier
        return self.hand.model_copy(update={"cause": self.cause or "died"}) if self.hand is not None else self.earlier


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """What a life file says of the Celery node."""

    pid: int
    since: float  # seconds, monotonic: when it began to start children


class LifeFile:
    """A life file that this process writes. Where the disk does not take it, every write does nothing."""

    def __init__(self, path: Path | None) -> None:
        """Open the file at `path`, made if need be; None: keep none."""
        self._child = ""
        self._said: dict[str, Any] = {}  # in the child's cell
        self._numbers: dict[Cell, int] = {}
        self._map: mmap.mmap | None = None
        self.problem: str | None = None  # why nothing is written
        try:
            self._map = None if path is None else map_file(path, size=SIZE)
        except OSError as error:
            self.problem = str(error)

    def take_over(self, child: str, *, boot: str, now: float | None = None) -> Ended | None:
        """Make the file that of a new child, this process; say how the one before it died, if that is to be told."""
        at = time.monotonic() if now is None else now
        before = None if self._map is None else life_in(self._map[:])
        broken = [] if before is None else list(before.broken)
        if before is not None and before.verdict == DEVICE_BROKEN:
            broken.append(round(at, 3))
        ended = None if before is None or before.alive else before.ended(boot=boot)
        pid = os.getpid()
        self._child = child
        self._said = {
            "child": child, "pid": pid, "began": process_began(pid), "parent": os.getppid(), "boot": boot,
            "machine": machine_boot(), "started": at, "broken": broken[-_REMEMBERED:], "earlier": _spelt(ended),
        }  # fmt: skip
        self._write(_CHILD, self._said)
        return ended

    def forget_earlier(self) -> None:
        """Everybody heard how the child before this one died."""
        self._said["earlier"] = None
        self._write(_CHILD, self._said)

    def take_in_hand(self, holding: Holding | None) -> None:
        """The chunk that is held, and which of its images are in the pipeline."""
        held = None
        if holding is not None:
            held = Ended(
                job=holding.job, chunk=holding.chunk, attempt=holding.attempt, batch=holding.batch, cause="died"
            )
        self._write(_HAND, [self._child, _spelt(held)])

    def set_deadline(self, at: float) -> None:
        """Until when something must happen; 0: take your time."""
        self._write(_DEADLINE, [self._child, at])

    def note_beat(self, at: float) -> None:
        """The helper thread is alive."""
        self._write(_BEAT, [self._child, at])

    def set_verdict(self, verdict: str) -> None:
        """Why this child is about to exit."""
        self._write(_VERDICT, [self._child, verdict])

    def set_cause(self, child: str, cause: Cause) -> None:
        """Why a child is dead or about to be, as the supervisor saw it."""
        self._write(_CAUSE, [child, cause])

    def note_parent(self, *, now: float | None = None) -> None:
        """This process is the Celery node, and starts its children from now on."""
        self._write(_NODE, [machine_boot(), os.getpid(), time.monotonic() if now is None else now])

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _write(self, cell: Cell, said: Any) -> None:
        if self._map is None:
            return
        if cell not in self._numbers:
            self._numbers[cell] = cell.read(self._map[:])[0]
        self._numbers[cell] += 1
        cell.write(self._map, self._numbers[cell], said)


def life_path(home: Path, node: str) -> Path:
    """Where the life file of a node lies."""
    return home / "workers" / f"{node}.life"


def read_life(path: Path) -> tuple[Life | None, Parent | None]:
    """The last child of a node and its parent; None where the file is missing, broken, or of another machine's boot."""
    try:
        data = path.read_bytes()
    except OSError:
        return None, None
    return life_in(data), parent_in(data)


def life_in(data: bytes) -> Life | None:
    """The child that the bytes of a life file tell of; never raises, whatever they are."""
    said = _CHILD.read(data)[1]

    def of(cell: Cell) -> Any:
        """What a cell says of this child."""
        entry = cell.read(data)[1]
        child, value = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        return value if child == said["child"] else None

    try:
        return _life(said, of) if said["machine"] == machine_boot() else None
    except (TypeError, ValueError, KeyError, OverflowError):
        return None


def parent_in(data: bytes) -> Parent | None:
    """The Celery node that last began to start children; never raises."""
    try:
        machine, pid, since = _NODE.read(data)[1]
        return Parent(pid=int(pid), since=float(since)) if machine == machine_boot() else None
    except (TypeError, ValueError, OverflowError):
        return None


def machine_boot() -> str:
    """One life of this machine's kernel; "" where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_began(pid: int) -> int:
    """When a process began, in the kernel's ticks; 0 where the kernel does not say or it is dead, buried or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def process_runs(pid: int, *, began: int) -> bool:
    """Whether that very process runs."""
    if began:
        return process_began(pid) == began
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError, OverflowError):
        return False
    return True


def has_child(pid: int) -> bool | None:
    """Whether a process has a living child; None where the kernel does not say."""
    found: bool | None = None
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue  # it ended meanwhile
        if int(parent) == pid and state not in "ZX":
            return True
        found = False
    return found


def _life(said: dict[str, Any], of: Callable[[Cell], Any]) -> Life:
    cause = of(_CAUSE)
    return Life(
        child=str(said["child"]), pid=int(said["pid"]), began=int(said["began"]), parent=int(said["parent"]),
        boot=str(said["boot"]), started=float(said["started"]), broken=tuple(float(at) for at in said["broken"]),
        earlier=_read_ended(said["earlier"]), deadline=float(of(_DEADLINE) or 0), beat=float(of(_BEAT) or 0),
        verdict=str(of(_VERDICT) or ""), cause=cause if cause in get_args(Cause) else None,
        hand=_read_ended(of(_HAND)),
    )  # fmt: skip


def _read_ended(said: Any) -> Ended | None:
    return None if said is None else Ended.model_validate(said)


def _spelt(ended: Ended | None) -> dict[str, Any] | None:
    """As JSON; without the ranges where they are so many that they would not fit."""
    if ended is None:
        return None
    if len(str(ended.batch)) > MOST_BATCH:
        ended = ended.model_copy(update={"batch": []})
    return ended.model_dump(mode="json")
