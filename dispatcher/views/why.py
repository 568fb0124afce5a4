"""Why a job is where it is: what holds it back, what each worker says to it, and what would help.

It reads the board that the feeder decides by and asks the same predicate, so it says what is decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dispatcher.planning.placing.holding import why_held
from dispatcher.planning.placing.placement import Seat, Want, explain
from dispatcher.planning.placing.reasons import Reason, WhyNot
from dispatcher.planning.placing.turns import CLASSES, RANKS
from dispatcher.service.feeding.board import Board
from dispatcher.views.hall import Hall
from dispatcher.views.progress import describe_worker
from dispatcher.wording import counted
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import JobRow
from storage.states import JobState

NEAREST: Final = (  # what keeps work from a worker, the least of it first
    Reason.BUSY, Reason.OTHER_JOB, Reason.OTHER_USER, Reason.HIGHER_CLASS, Reason.UNDECIDED, Reason.RESTS,
    Reason.LOST_HERE, Reason.FAILED_HERE, Reason.DRAINS, Reason.TOO_LARGE, Reason.DEVICE_TYPE,
)  # fmt: skip
SUMMARY: Final = {
    Reason.BUSY: "every worker that could take more of it is busy; it is the next one",
    Reason.OTHER_JOB: "another job of the same user goes first",
    Reason.OTHER_USER: "it is another user's turn",
    Reason.HIGHER_CLASS: "a more urgent class goes first",
    Reason.UNDECIDED: "its plan did not fit; a smaller one is chosen when what was sent out with that plan is back",
    Reason.RESTS: "the workers that could take it rest after failures",
    Reason.LOST_HERE: "the only workers with room lost this chunk before; it goes elsewhere",
    Reason.FAILED_HERE: "the only workers with room failed this chunk before; it goes elsewhere",
    Reason.DRAINS: "the workers that could take it are drained",
    Reason.TOO_LARGE: "no device here can hold its plan",
    Reason.DEVICE_TYPE: "no device of the kind that it began on is here",
}
GOES_OUT: Final = "takes it in the dispatcher's next round"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What one worker says to a job."""

    node: str
    device: str
    reason: Reason | None  # None: it takes it
    says: str

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        reason = None if self.reason is None else str(self.reason)
        return {"node": self.node, "device": self.device, "reason": reason, "says": self.says}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The whole answer."""

    job: JobRow
    counts_as: str  # its class after ageing
    reason: Reason | None
    says: str
    under_way: Sequence[Row]  # chunks of it that workers have
    rows: Sequence[Row]
    helps: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        row = self.job
        return {
            "id": row.id, "name": row.name, "user": row.user, "state": str(row.state), "priority": str(row.priority),
            "counts_as": self.counts_as, "images": row.images, "done": row.done, "failed": row.failed,
            "rejected": row.rejected,
            "reason": None if self.reason is None else str(self.reason), "says": self.says,
            "under_way": [one.to_json() for one in self.under_way],
            "workers": [one.to_json() for one in self.rows], "helps": list(self.helps),
        }  # fmt: skip


def answer(
    row: JobRow, board: Board, hall: Hall, *, issued: Sequence[ChunkRow], leaderless: str, now: float
) -> Answer:  # fmt: skip
    """Say why a job is where it is.

    Args:
        row: The job.
        board: As the feeder would read it now.
        hall: What the broker shows of the workers.
        issued: Chunks of the job that workers have.
        leaderless: Why nobody acts, or empty.
        now: Unix seconds.
    """
    held = board.held.get(row.id) if row.is_open else why_held(row, now=now, under_way_s=0.0)
    mine = [want for want in board.wants if want.job == row.id]
    wanted = not row.is_open or held is not None
    rows = [] if wanted else [_row(seat, mine, board, hall) for seat in board.seats] + _others(hall)
    found, says = _gist(row, held, rows, hall, leaderless=leaderless)
    if issued and found in NEAREST:
        says = f"it is under way; for more of it: {says}"
    rank = mine[0].turn.rank if mine else RANKS[row.priority]
    return Answer(
        job=row, counts_as=str(CLASSES[rank]), reason=found, says=says, under_way=_under_way(issued, hall), rows=rows,
        helps=_helps(row, found, board),
    )  # fmt: skip


def _row(seat: Seat, mine: Sequence[Want], board: Board, hall: Hall) -> Row:
    """What a worker says to that piece of the job which is nearest to it."""
    said = [explain(seat, want, seats=board.seats, wants=board.wants) for want in mine]
    device = next(beat.device for beat in hall.live if beat.node == seat.node)
    refused = [one for one in said if one is not None]
    if len(refused) < len(said):
        return Row(node=seat.node, device=device, reason=None, says=GOES_OUT)
    nearest = min(refused, key=lambda one: NEAREST.index(one.reason))
    return Row(node=seat.node, device=device, reason=nearest.reason, says=nearest.says)


def _others(hall: Hall) -> list[Row]:
    silent = [
        Row(node=node, device="", reason=Reason.NO_WORKER, says=f"silent for {age:.0f} s")
        for node, age in sorted(hall.silent.items())
    ]
    return silent + [
        Row(node=node, device="", reason=Reason.NO_WORKER, says=f"quarantined: {why}")
        for node, why in sorted(hall.quarantined.items())
    ]


def _gist(
    row: JobRow, held: WhyNot | None, rows: Sequence[Row], hall: Hall, *, leaderless: str
) -> tuple[Reason | None, str]:
    """The one reason that counts most."""
    stands = (Reason.ENDED, Reason.PAUSED, Reason.STOPPED)
    final = held if held is not None and held.reason in stands and not _wishes_on(row) else None
    leader = WhyNot(Reason.NO_LEADER, leaderless) if leaderless else None
    broker = WhyNot(Reason.NO_BROKER, f"workers cannot be reached: {hall.away}") if hall.away else None
    nobody = None if hall.live else WhyNot(Reason.NO_WORKER, "no worker is there")
    for said in (final, leader, held, broker, nobody):
        if said is not None:
            return said.reason, said.says
    if any(one.reason is None for one in rows):
        return None, "it goes out in the dispatcher's next round"
    nearest = min((one.reason for one in rows if one.reason in NEAREST), key=NEAREST.index)
    return nearest, SUMMARY[nearest]


def _wishes_on(row: JobRow) -> bool:
    """Whether its user wished something that only a leader can do."""
    return row.wish == "resume" or row.retry is not None


def _under_way(issued: Sequence[ChunkRow], hall: Hall) -> list[Row]:
    """Each chunk that a worker has, and how far it is."""
    beats = {(beat.node, beat.boot): beat for beat in hall.live}
    rows = []
    for chunk in issued:
        beat = beats.get((chunk.node or "", chunk.boot or ""))
        held = None if beat is None else beat.holding
        doing = "is not heard of now" if beat is None else "waits there"
        if beat is not None and held is not None and (held.job, held.chunk) == chunk.id:
            doing = describe_worker(beat)
        what = f"has chunk {chunk.number} ({counted(chunk.images, 'image')})"
        what = "reads its models" if chunk.kind == "resolve" else what
        device = "" if beat is None else beat.device
        rows.append(Row(node=chunk.node or "", device=device, reason=None, says=f"{what}: {doing}"))
    return rows


def _helps(row: JobRow, reason: Reason | None, board: Board) -> list[str]:
    """Commands and keys that would change the answer."""
    more = "one more worker: farm-worker start, on any host that reaches the broker"
    drained = next((seat.node for seat in board.seats if seat.wish is not None), "NODE")
    ended = [f"./farm retry {row.id}"] if row.failed or row.state == JobState.FAILED else []
    known = {
        Reason.ENDED: [*([f"./farm logs {row.id}"] if ended or row.short else []), *ended],
        Reason.PAUSED: [f"./farm resume {row.id}"],
        Reason.BUDGET: [f"./farm resume {row.id} --max-device-hours H, with more hours than it has"],
        Reason.DEADLINE: [f"./farm resume {row.id} --deadline WHEN"],
        Reason.BUSY: [more],
        Reason.OTHER_JOB: [_sooner(row), more],
        Reason.OTHER_USER: [_sooner(row), more],
        Reason.HIGHER_CLASS: [_sooner(row), more],
        Reason.RESTS: [f"./farm logs {row.id}"],
        Reason.FAILED_HERE: [f"./farm logs {row.id}"],
        Reason.DRAINS: [f"./farm drain {drained} --undo"],
        Reason.TOO_LARGE: ["smaller_plans: true in the job file", "a worker with a larger device"],
        Reason.DEVICE_TYPE: ["a worker with such a device: farm-worker start", "the same job once more: --new"],
        Reason.NO_WORKER: ["farm-worker start, on every host with a device"],
    }
    return [line for line in known.get(reason, []) if line] if reason is not None else []


def _sooner(row: JobRow) -> str:
    rank = RANKS[row.priority]
    return f"./farm priority {row.id} {CLASSES[rank - 1]}" if rank else ""
