"""From jobs to chunks in workers' queues: the next numbers of the job whose turn it is, a row first, then the message.

The row is committed before anything is published. A crash in between leaves an issued chunk that no worker ever
reports, which the reconciler takes back.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from dispatcher.planning.placing.placement import Send, Want, choose, fits_nowhere
from dispatcher.planning.placing.turns import CLASSES, RANKS
from dispatcher.service.broker import Broker
from dispatcher.service.feeding.board import Board, read_board
from dispatcher.service.feeding.cutter import Cutter, Cutting
from dispatcher.service.feeding.fitting import choose_for, piece_of, settle
from dispatcher.service.steps import end_job
from storage.errors import PermanentError
from storage.spec import Job
from storage.spec.recipe import CHECKPOINT
from storage.spec_store import SpecStore
from storage.sql import Database, chunks, jobs, plans
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import JobRow
from storage.states import ChunkState, JobState, Priority
from storage.wire.messages import ChunkMessage, Heartbeat, ModelEntry

log = logging.getLogger(__name__)
MAX_IDLE: Final = 10  # decisions a round that come to nothing: empty places to walk over, jobs that cannot go on
LINK_S: Final = 2.0  # of a round that linking may take before others have their turn
AGEING_S: Final = 1800.0
Fence = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a decision."""

    chunk: ChunkRow | None = None  # as issued
    job: Job | None = None
    linked: bool = False


class Feeder:
    """Fills the seats of live workers. The only one that cuts and issues chunks."""

    def __init__(
        self, database: Database, broker: Broker, specs: SpecStore, *,
        chunk_s: float, give_up: Callable[..., bool], ageing_s: float = AGEING_S,
    ) -> None:  # fmt: skip
        """Take the parts.

        Args:
            database: SQL.
            broker: Redis.
            specs: The frozen specs.
            chunk_s: Seconds that a chunk aims at.
            give_up: Fails the images of a chunk that no device can hold: `Recorder.give_up`.
            ageing_s: After how long without a device a job counts one class higher.
        """
        self._database = database
        self._broker = broker
        self._specs = specs
        self._chunk_s = chunk_s
        self._give_up = give_up
        self._ageing_s = ageing_s
        self._cutter = Cutter(chunk_s=chunk_s)

    def feed(self, workers: Sequence[Heartbeat], *, fence: Fence) -> int:
        """Issue chunks until no worker has room or no job has work. Returns how many.

        Raises:
            BrokerAway: A message could not be sent; its chunk is taken back later.
            DatabaseAway: SQL does not answer.
            StoreAway: A spec could not be read.
        """
        sent = idle = 0
        linking_until = time.monotonic() + LINK_S
        while workers and idle < MAX_IDLE:
            board = self._read(workers)
            send = choose(board.seats, board.wants, chunk_s=self._chunk_s)
            if send is None:
                if not self._give_up_one(board, fence=fence):
                    break
                idle += 1
                continue
            done = self._issue(send, board, fence=fence)
            if done.chunk is not None:
                self._publish(board.jobs[send.want.job], done.chunk, done.job, rank=send.want.turn.rank)
                self._make_way(send, done.chunk, fence=fence)
                sent += 1
            elif not done.linked or time.monotonic() > linking_until:
                idle += 1
        return sent

    def _read(self, workers: Sequence[Heartbeat]) -> Board:
        with self._database.read() as connection:
            return read_board(connection, workers, load=self._spec, ageing_s=self._ageing_s, now=time.time())

    def _spec(self, row: JobRow) -> Job:
        return self._specs.load(row.id, spec_hash=row.spec_hash)

    def _issue(self, send: Send, board: Board, *, fence: Fence) -> _Outcome:
        """Write down that a worker gets a chunk, unless there turned out to be nothing to give."""
        seen, seat = board.jobs[send.want.job], send.seat
        job, problem = self._load(seen)  # before the transaction: a store may be slow
        with self._database.write() as connection:
            fence(connection)
            row, now = jobs.get(connection, seen.id), time.time()
            if problem is not None:
                end_job(connection, row.id, JobState.FAILED, reason=problem, now=now)
            if problem is not None or _differs(row, seen):
                return _Outcome()
            if send.want.chunk is not None:
                cutting = Cutting(self._ready(connection, row, job, send))
            elif job is None:
                cutting = self._cutter.resolve(connection, row)
            else:
                cutting = self._cutter.render(connection, row, job, seat=seat, workers=len(board.seats), now=now)
            chunk = cutting.chunk
            if chunk is None or chunks.issue(connection, chunk, node=seat.node, boot=seat.boot, now=now) is None:
                return _Outcome(linked=cutting.linked)
            jobs.change(connection, row.id, issued_at=now)
            return _Outcome(chunks.get(connection, chunk.job, chunk.number), job)

    def _load(self, row: JobRow) -> tuple[Job | None, str | None]:
        """The job's images, or why there are none for ever: its spec is gone, and other jobs must go on."""
        if row.state != JobState.RUNNING:
            return None, None
        try:
            return self._spec(row), None
        except PermanentError as error:
            return None, str(error)

    def _ready(self, connection: Connection, row: JobRow, job: Job | None, send: Send) -> ChunkRow | None:
        """A chunk that was cut before, with the plan that suits this worker."""
        assert send.want.chunk is not None
        chunk = chunks.get(connection, row.id, send.want.chunk)
        if chunk is None or chunk.state != ChunkState.READY or job is None or chunk.kind != "render":
            return chunk if chunk is not None and chunk.state == ChunkState.READY else None
        piece = piece_of(row, job, chunk)
        assert piece is not None  # a chunk has images
        choice = choose_for(connection, row, job, piece=piece, seat=send.seat)
        if choice.plan is None:
            return None
        plan_id = settle(connection, row, piece, choice)
        if plan_id != chunk.plan_id:
            plans.replan(connection, chunk, plan_id)
        return chunk

    def _give_up_one(self, board: Board, *, fence: Fence) -> bool:
        """Fail the images of one chunk that no live device can hold. Returns whether anything came of it."""
        hopeless = [want for want in board.wants if fits_nowhere(want, board.seats)]
        if not hopeless:
            return False
        want = min(hopeless, key=lambda want: want.order)
        seen = board.jobs[want.job]
        if want.chunk is not None:
            detail = _too_large(want, seen, self._spec(seen))
            return self._give_up(board.ready[want.job, want.chunk], reason="out_of_memory", detail=detail)
        job = self._spec(seen)
        with self._database.write() as connection:
            fence(connection)
            row = jobs.get(connection, want.job)
            if _differs(row, seen):
                return False
            now = time.time()
            self._cutter.render(connection, row, job, seat=board.seats[0], workers=len(board.seats), now=now)
        return True  # the next round of the loop finds the chunk ready

    def _make_way(self, send: Send, chunk: ChunkRow, *, fence: Fence) -> None:
        """Take back what waits where an interactive job's models are read: its images follow at once."""
        if chunk.kind != "resolve" or send.want.turn.rank > RANKS[Priority.INTERACTIVE]:
            return
        with self._database.read() as connection:
            open_jobs = {row.id: row for row in jobs.still_open(connection)}
            issued = chunks.in_state(connection, ChunkState.ISSUED)
        for other in issued:
            row = open_jobs.get(other.job)
            is_here = (other.node, other.boot) == (chunk.node, chunk.boot)
            if not is_here or row is None or RANKS[row.priority] == RANKS[Priority.INTERACTIVE]:
                continue
            if self._broker.withdraw(other.job, other.number, other.attempt):
                with self._database.write() as connection:
                    fence(connection)
                    chunks.withdraw(connection, other, why=f"job {send.want.name} goes first", now=time.time())

    def _publish(self, row: JobRow, chunk: ChunkRow, job: Job | None, *, rank: int) -> None:
        assert chunk.node is not None
        assert chunk.boot is not None
        assert chunk.kind != "link"
        message = ChunkMessage(
            kind=chunk.kind, job=row.id, chunk=chunk.number, attempt=chunk.attempt, spec_hash=row.spec_hash,
            ranges=chunk.numbers.to_json(), plan=chunk.plan, alone=chunk.faults > 0,
            models={} if job is None else _models(row, chunk, job),
        )  # fmt: skip
        label = f"job={row.name} chunk={chunk.number} model={chunk.model or '?'} images={chunk.images}"
        self._broker.allow(row.id, chunk.number, chunk.attempt)
        self._broker.send(message, node=chunk.node, boot=chunk.boot, label=label, priority=CLASSES[rank])
        log.info("chunk issued", extra={
            "job": row.id, "chunk": chunk.number, "attempt": chunk.attempt, "worker": chunk.node,
            "images": chunk.images,
        })  # fmt: skip


def _differs(row: JobRow, seen: JobRow) -> bool:
    """Whether a job changed since the board was read, in a way that may change the decision."""
    return (row.state, row.wish, row.spec_hash) != (seen.state, seen.wish, seen.spec_hash)


def _models(row: JobRow, chunk: ChunkRow, job: Job) -> dict[str, ModelEntry]:
    """What a worker may need for a chunk: its checkpoint, refiners, and every part. Other checkpoints stay away."""
    needed = {chunk.model, *job.refiners}
    return {
        key: ModelEntry(**facts.to_json())
        for key, facts in (row.models or {}).items()
        if facts.kind != CHECKPOINT or key in needed
    }


def _too_large(want: Want, row: JobRow, job: Job) -> str:
    """What the user is told of images that no live device can hold."""
    tried = "; ".join(f"{device} ran out of memory with {plan}" for device, plan in sorted(want.too_large.items()))
    helps = [] if job.spec.smaller_plans else ["smaller_plans: true"]
    helps += ["plan: {offload: model}"] if job.spec.plan.get("offload", "none") == "none" else []
    return f"needs a larger device: {tried}; set {' or '.join([*helps, 'a smaller size'])}, then 'farm retry {row.id}'"
