"""Everything that one decision looks at: what there is to do, who could do it, and why not. Read from SQL and beats.

The feeder decides by it, and `farm why` reads the same board, so it prints what the feeder decides.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection

from dispatcher.planning.placing.holding import clock, why_held
from dispatcher.planning.placing.placement import Load, Seat, Want
from dispatcher.planning.placing.reasons import Reason, WhyNot
from dispatcher.planning.placing.turns import RANKS, Turn, rank_of
from dispatcher.service.feeding.fitting import Misfits, Piece, piece_of, too_large
from storage.errors import PermanentError
from storage.spec import Job
from storage.spec.recipe import CHECKPOINT
from storage.sql import chunks, jobs, workers
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import JobRow
from storage.states import ChunkState, JobState
from storage.wire.messages import Heartbeat

LoadSpec = Callable[[JobRow], Job]


@dataclass(frozen=True, slots=True)
class Board:
    """One reading."""

    jobs: Mapping[str, JobRow]  # those that are open
    ready: Mapping[tuple[str, int], ChunkRow]
    seats: list[Seat]
    wants: list[Want]
    held: Mapping[str, WhyNot]  # open jobs of which nothing is issued, whoever is there


class Reader:
    """Reads a board inside one transaction."""

    def __init__(
        self, connection: Connection, beats: Sequence[Heartbeat], *, load: LoadSpec, ageing_s: float, now: float
    ) -> None:
        self._connection = connection
        self._beats = beats
        self._load = load
        self._ageing_s = ageing_s
        self._now = now
        self._jobs = {row.id: row for row in jobs.still_open(connection)}
        self._issued = chunks.in_state(connection, ChunkState.ISSUED)
        self._limits = workers.limits(connection)
        self._rests = workers.rests(connection, now)
        self._found: dict[tuple[str, Piece], Misfits] = {}

    def read(self) -> Board:
        """The board. Raises StoreAway where a spec had to be looked at."""
        ready = {row.id: row for row in chunks.in_state(self._connection, ChunkState.READY) if row.job in self._jobs}
        lost = chunks.lost_nodes(self._connection, list(ready.values()))
        held: dict[str, WhyNot] = {}
        wants: list[Want] = []
        for row in self._jobs.values():
            mine: list[ChunkRow | None] = [chunk for chunk in ready.values() if chunk.job == row.id]
            if row.state == JobState.QUEUED or (row.state == JobState.RUNNING and row.cursor < row.positions):
                mine.append(None)
            why = why_held(row, now=self._now, under_way_s=self._under_way_s(row)) or _idle(row, mine)
            if why is not None:
                held[row.id] = why
            else:
                wants += [self._want(row, chunk, lost=lost) for chunk in mine]
        return Board(self._jobs, ready, self._seats, wants, held)

    @cached_property
    def _seats(self) -> list[Seat]:
        wishes = workers.wishes(self._connection)
        return [self._seat(beat, wish=wishes.get(beat.node)) for beat in self._beats]

    def _seat(self, beat: Heartbeat, *, wish: str | None) -> Seat:
        """A worker, and what it has. Until it says what it holds, the most urgent chunk is taken to run."""
        mine = [chunk for chunk in self._issued if (chunk.node, chunk.boot) == (beat.node, beat.boot)]
        held = beat.holding
        mine.sort(key=lambda chunk: (held is None or (held.job, held.chunk) != chunk.id, self._rank(chunk)))
        loads = tuple(Load(self._name(chunk), chunk.number, self._rank(chunk)) for chunk in mine)
        rests = {model: rest.until for (node, model), rest in self._rests.items() if node == beat.node}
        urgent = [self._name(chunk) for chunk in mine if chunk.kind == "resolve" and self._rank(chunk) == 0]
        return Seat(
            node=beat.node, boot=beat.boot, device_type=beat.device_type, device_key=beat.device_key,
            threads=beat.threads, resident=frozenset(beat.resident), wish=wish,
            running=loads[0] if loads else None, waiting=loads[1:], expects=next(iter(urgent), None),
            rests={model: clock(until, now=self._now) for model, until in rests.items()},
        )  # fmt: skip

    def _want(self, row: JobRow, chunk: ChunkRow | None, *, lost: Mapping[tuple[str, int], set[str]]) -> Want:
        piece = self._piece(row, chunk)
        misfits = self._misfits(row, piece)
        return Want(
            job=row.id, name=row.name, user=row.user, turn=self._turn(row),
            chunk=None if chunk is None else chunk.number,
            model=piece.digest if piece is not None else _model(row, chunk),
            device_type=self._device_types.get(row.id), too_large=misfits.devices, awaits=misfits.awaits,
            again=chunk is not None and (chunk.attempt > 0 or chunk.faults > 0 or chunk.id in self._parted),
            avoid=frozenset() if chunk is None else chunk.avoid,
            lost_on=frozenset() if chunk is None else frozenset(lost[chunk.id]),
        )  # fmt: skip

    def _misfits(self, row: JobRow, piece: Piece | None) -> Misfits:
        """The kinds of devices that cannot hold a piece; looked up once a reading, as many chunks share it."""
        if piece is None or not any(limit.model == piece.digest for limit in self._limits):
            return Misfits(devices={}, awaits=None)
        if (row.id, piece) not in self._found:
            found = too_large(
                self._connection, row, self._load(row), piece=piece, seats=self._seats, limits=self._limits
            )  # fmt: skip
            self._found[row.id, piece] = found
        return self._found[row.id, piece]

    def _piece(self, row: JobRow, chunk: ChunkRow | None) -> Piece | None:
        """Which checkpoint and size it is about, where some limit or rest makes that matter."""
        digests = {facts.digest for facts in (row.models or {}).values()}
        known = {limit.model for limit in self._limits} | {model for _, model in self._rests}
        if not digests & known:
            return None
        try:
            return piece_of(row, self._load(row), chunk)
        except PermanentError:  # its spec is gone; the job fails when it is to be issued
            return None

    @cached_property
    def _parted(self) -> set[tuple[str, int]]:
        """Rests of lost chunks: they are new, and their images were with a worker before."""
        return chunks.rests(self._connection)

    def _turn(self, row: JobRow) -> Turn:
        return Turn(
            rank=rank_of(row.priority, waited_s=self._now - _since(row), ageing_s=self._ageing_s),
            user_in_flight=self._of_user[row.user], user_since=self._user_since[row.user],
            in_flight=self._of_job[row.id], age=self._ages[row.id],
        )  # fmt: skip

    @cached_property
    def _ages(self) -> dict[str, int]:
        return {job_id: age for age, job_id in enumerate(self._jobs)}

    @cached_property
    def _of_job(self) -> Counter[str]:
        return Counter(chunk.job for chunk in self._issued)

    @cached_property
    def _of_user(self) -> Counter[str]:
        return Counter(self._jobs[chunk.job].user for chunk in self._issued if chunk.job in self._jobs)

    @cached_property
    def _user_since(self) -> dict[str, float]:
        """Since when each user waits: the last time that they got a device, else their oldest job."""
        found: dict[str, float] = {}
        for row in self._jobs.values():  # the oldest first
            found[row.user] = max(found.get(row.user, row.created_at), row.issued_at or 0.0)
        return found

    @cached_property
    def _device_types(self) -> dict[str, str]:
        frozen = jobs.plans(self._connection, list(self._jobs))
        return {job_id: next(iter(sizes.values())).device_type for job_id, sizes in frozen.items()}

    def _under_way_s(self, row: JobRow) -> float:
        pace = row.seconds_per_image or 0.0
        return pace * sum(chunk.images for chunk in self._issued if chunk.job == row.id)

    def _rank(self, chunk: ChunkRow) -> int:
        row = self._jobs.get(chunk.job)
        return 0 if row is None else RANKS[row.priority]

    def _name(self, chunk: ChunkRow) -> str:
        row = self._jobs.get(chunk.job)
        return chunk.job if row is None else row.name


def read_board(
    connection: Connection, beats: Sequence[Heartbeat], *, load: LoadSpec, ageing_s: float, now: float
) -> Board:
    """Read what there is to do and who could do it.

    Args:
        connection: A transaction.
        beats: The last words of live workers.
        load: Gives a job's images; asked only where some limit or rest makes their size or model matter.
        ageing_s: After how long without a device a job counts one class higher.
        now: Unix seconds.

    Raises:
        StoreAway: A spec had to be looked at.
    """
    return Reader(connection, beats, load=load, ageing_s=ageing_s, now=now).read()


def _idle(row: JobRow, offered: Sequence[ChunkRow | None]) -> WhyNot | None:
    """Why a job that may go on has nothing to issue."""
    if offered:
        return None
    if row.state == JobState.RESOLVING:
        return WhyNot(Reason.MODELS, "a worker is reading its models")
    if row.is_complete and row.has_rules:
        says = "every image is made or has failed; the dispatcher judges them by its quality rules"
        return WhyNot(Reason.JUDGING, says)
    return WhyNot(Reason.ALL_ISSUED, "all that is left of it is with workers")


def _since(row: JobRow) -> float:
    return max(row.created_at, row.issued_at or 0.0)


def _model(row: JobRow, chunk: ChunkRow | None) -> str | None:
    """Digest of the checkpoint, where it can be told without reading the spec."""
    if row.models is None:
        return None
    if chunk is not None and chunk.model is not None:
        return row.models[chunk.model].digest
    bases = [facts.digest for facts in row.models.values() if facts.kind == CHECKPOINT]
    return bases[0] if len(bases) == 1 else None
