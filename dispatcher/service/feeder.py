"""From jobs to chunks in workers' queues: the next numbers of the fairest job, a row first, then the message.

The row is committed before anything is published. A crash in between leaves an issued chunk that no worker ever
reports, which the reconciler takes back.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from dispatcher.planning.cutting import chunk_images, cut
from dispatcher.planning.placement import Seat, Send, Want, choose
from dispatcher.service.broker import Broker
from dispatcher.service.recorder import end_job, finish_if_complete
from storage.errors import PermanentError
from storage.spec import Job, Numbers
from storage.spec.plan import Plan, choose_plan
from storage.spec.recipe import CHECKPOINT
from storage.spec_store import SpecStore
from storage.sql import Database, chunks, jobs
from storage.sql.chunks import ChunkRow, NewChunk
from storage.sql.jobs import JobRow
from storage.states import ChunkState, JobState, Wish
from storage.wire.messages import ChunkMessage, Heartbeat, ModelEntry

log = logging.getLogger(__name__)
MAX_IDLE = 10  # decisions a round that come to nothing: empty places to walk over, jobs that cannot go on


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that one decision looks at."""

    jobs: Mapping[str, JobRow]
    ready: Mapping[tuple[str, int], ChunkRow]
    seats: list[Seat]
    wants: list[Want]


class Feeder:
    """Fills the seats of live workers. The only one that cuts and issues chunks."""

    def __init__(self, database: Database, broker: Broker, specs: SpecStore, *, chunk_s: float) -> None:
        self._database = database
        self._broker = broker
        self._specs = specs
        self._chunk_s = chunk_s

    def feed(self, workers: Sequence[Heartbeat], *, fence: Callable[[Connection], None]) -> int:
        """Issue chunks until no worker has room or no job has work. Returns how many.

        Raises:
            BrokerAway: A message could not be sent; its chunk is taken back later.
            DatabaseAway: SQL does not answer.
            StoreAway: A spec could not be read.
        """
        sent = idle = 0
        while workers and idle < MAX_IDLE:
            with self._database.read() as connection:
                board = read_board(connection, workers)
            send = choose(board.seats, board.wants, chunk_s=self._chunk_s)
            if send is None:
                break
            issued = self._issue(send, board.jobs[send.want.job], workers, fence=fence)
            if issued is None:
                idle += 1
            else:
                self._publish(board.jobs[send.want.job], *issued)
                sent += 1
        return sent

    def _issue(
        self, send: Send, seen: JobRow, workers: Sequence[Heartbeat], *, fence: Callable[[Connection], None]
    ) -> tuple[ChunkRow, Job | None] | None:
        """Write down that a worker gets a chunk; None where there turned out to be nothing to give."""
        renders = seen.state == JobState.RUNNING
        job, problem = self._load(seen) if renders else (None, None)  # before the transaction: a store may be slow
        with self._database.write() as connection:
            fence(connection)
            row, now = jobs.get(connection, seen.id), time.time()
            if problem is not None:
                end_job(connection, row.id, JobState.FAILED, reason=problem, now=now)
            if (row.state, row.wish) != (seen.state, Wish.RUN) or problem is not None:
                return None
            if send.want.chunk is not None:
                chunk = chunks.get(connection, row.id, send.want.chunk)
            elif job is None:
                chunk = self._cut_resolve(connection, row)
            else:
                chunk = self._cut_render(connection, row, job, seat=send.seat, workers=workers)
            if chunk is None or chunk.state != ChunkState.READY:
                return None
            if chunks.issue(connection, chunk, node=send.seat.node, boot=send.seat.boot, now=now) is None:
                return None
            again = chunks.get(connection, chunk.job, chunk.number)
            return None if again is None else (again, job)

    def _load(self, row: JobRow) -> tuple[Job | None, str | None]:
        """The job's images, or why there are none for ever: its spec is gone, and other jobs must go on."""
        try:
            return self._specs.load(row.id, spec_hash=row.spec_hash), None
        except PermanentError as error:
            return None, str(error)

    def _cut_resolve(self, connection: Connection, row: JobRow) -> ChunkRow | None:
        number = chunks.add(connection, NewChunk(job=row.id, kind="resolve", numbers=Numbers()))
        jobs.enter(connection, row.id, JobState.RESOLVING)
        return chunks.get(connection, row.id, number)

    def _cut_render(
        self, connection: Connection, row: JobRow, job: Job, *, seat: Seat, workers: Sequence[Heartbeat]
    ) -> ChunkRow | None:
        models = row.models
        assert models is not None
        frozen = jobs.plans(connection, [row.id]).get(row.id, {})
        first = cut(job, cursor=row.cursor, images=1, models=models)
        if first.model is None:
            jobs.change(connection, row.id, cursor=first.cursor)
            finish_if_complete(connection, row.id, now=time.time())
            return None
        plan = frozen.get(first.size) or _new_plan(job, first.size, seat, workers)
        wanted = chunk_images(
            seconds_per_image=row.seconds_per_image, target_s=self._chunk_s, batch=plan.batch,
            left=job.positions - row.cursor, workers=len(workers),
        )  # fmt: skip
        part = cut(job, cursor=row.cursor, images=wanted, models=models)
        plan_id = jobs.freeze_plan(connection, row.id, part.size, plan)
        new = NewChunk(job=row.id, kind="render", numbers=part.numbers, plan=plan_id, model=part.model)
        number = chunks.add(connection, new)
        jobs.change(connection, row.id, cursor=part.cursor)
        return chunks.get(connection, row.id, number)

    def _publish(self, row: JobRow, chunk: ChunkRow, job: Job | None) -> None:
        assert chunk.node is not None
        assert chunk.boot is not None
        assert chunk.kind != "link"
        message = ChunkMessage(
            kind=chunk.kind, job=row.id, chunk=chunk.number, attempt=chunk.attempt, spec_hash=row.spec_hash,
            ranges=chunk.numbers.to_json(), plan=chunk.plan,
            models={} if job is None else _models(row, chunk, job),
        )  # fmt: skip
        label = f"job={row.name} chunk={chunk.number} model={chunk.model or '?'} images={chunk.images}"
        self._broker.allow(row.id, chunk.number, chunk.attempt)
        self._broker.send(message, node=chunk.node, boot=chunk.boot, label=label)
        log.info("chunk issued", extra={
            "job": row.id, "chunk": chunk.number, "attempt": chunk.attempt, "worker": chunk.node,
            "images": chunk.images,
        })  # fmt: skip


def read_board(connection: Connection, workers: Sequence[Heartbeat]) -> Board:
    """Read what there is to do and who could do it."""
    rows = {row.id: row for row in jobs.still_open(connection) if row.wish == Wish.RUN}
    ready = {row.id: row for row in chunks.in_state(connection, ChunkState.READY) if row.job in rows}
    issued = chunks.in_state(connection, ChunkState.ISSUED)
    lost = chunks.lost_nodes(connection, list(ready.values()))
    plans = jobs.plans(connection, list(rows))
    seats = [
        Seat(
            node=beat.node, boot=beat.boot, device_type=beat.device_type, resident=frozenset(beat.resident),
            chunks=sum((row.node, row.boot) == (beat.node, beat.boot) for row in issued),
        )
        for beat in workers
    ]  # fmt: skip
    wants = []
    for age, row in enumerate(rows.values()):
        flying = sum(chunk.job == row.id for chunk in issued)
        device = next((plan.device_type for plan in plans.get(row.id, {}).values()), None)
        mine: list[ChunkRow | None] = [chunk for chunk in ready.values() if chunk.job == row.id]
        if row.state == JobState.QUEUED or (row.state == JobState.RUNNING and _has_more(row)):
            mine.append(None)
        wants += [_want(row, chunk, device=device, in_flight=flying, age=age, lost=lost) for chunk in mine]
    return Board(rows, ready, seats, wants)


def _has_more(row: JobRow) -> bool:
    return row.cursor < row.positions


def _want(
    row: JobRow, chunk: ChunkRow | None, *, device: str | None, in_flight: int, age: int,
    lost: Mapping[tuple[str, int], set[str]],
) -> Want:  # fmt: skip
    model = None
    if chunk is not None and chunk.model is not None and row.models is not None:
        model = row.models[chunk.model].digest
    elif row.models is not None:
        bases = [facts.digest for facts in row.models.values() if facts.kind == CHECKPOINT]
        model = bases[0] if len(bases) == 1 else None
    return Want(
        job=row.id, chunk=None if chunk is None else chunk.number, model=model, device_type=device,
        in_flight=in_flight, age=age, lost_on=frozenset() if chunk is None else frozenset(lost[chunk.id]),
    )  # fmt: skip


def _models(row: JobRow, chunk: ChunkRow, job: Job) -> dict[str, ModelEntry]:
    """What a worker may need for a chunk: its checkpoint, refiners, and every part. Other checkpoints stay away."""
    needed = {chunk.model, *job.refiners}
    return {
        key: ModelEntry(**facts.to_json())
        for key, facts in (row.models or {}).items()
        if facts.kind != CHECKPOINT or key in needed
    }


def _new_plan(job: Job, size: tuple[int, int], seat: Seat, workers: Sequence[Heartbeat]) -> Plan:
    threads = next(beat.threads for beat in workers if beat.node == seat.node)
    return choose_plan(job.spec.plan, device_type=seat.device_type, threads=threads, size=size, company=job.company)
