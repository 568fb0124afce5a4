"""A rack of workers on paper: time jumps from the end of one chunk to the next; placement decides as in the farm."""

from dataclasses import dataclass, field

from dispatcher.planning.placing.placement import Load, Seat, Want, choose
from dispatcher.planning.placing.turns import RANKS, Turn, rank_of
from storage.states import Priority

CHUNK_S = 60.0


@dataclass
class PaperJob:
    """A job of so many chunks."""

    name: str
    user: str
    priority: Priority
    left: int
    chunk_s: float
    submitted: float
    issued_at: float = float("-inf")
    in_flight: int = 0
    done: int = 0


@dataclass
class PaperWorker:
    """What one worker runs and what waits there."""

    running: tuple[PaperJob, float] | None = None  # until when
    waiting: list[tuple[int, int, PaperJob]] = field(default_factory=list)  # class, order of coming


@dataclass
class Rack:
    """Workers, jobs and a clock."""

    nodes: int
    ageing_s: float = 1800.0
    now: float = 0.0
    jobs: list[PaperJob] = field(default_factory=list)
    begun: list[tuple[float, str, PaperJob]] = field(default_factory=list)  # when, where, what
    sends: int = 0

    def __post_init__(self) -> None:
        self.workers = {f"n{place}": PaperWorker() for place in range(self.nodes)}

    def submit(self, user: str, *, priority: Priority = Priority.NORMAL, chunks: int, chunk_s: float = 60) -> PaperJob:
        job = PaperJob(f"{user}{len(self.jobs)}", user, priority, chunks, chunk_s, self.now)
        self.jobs.append(job)
        return job

    def feed(self) -> None:
        """Issue until nothing can be, as the feeder does."""
        while (send := choose(self._seats(), self._wants(), chunk_s=CHUNK_S)) is not None:
            job = next(job for job in self.jobs if job.name == send.want.job)
            job.left, job.in_flight, job.issued_at = job.left - 1, job.in_flight + 1, self.now
            self.sends += 1
            self.workers[send.seat.node].waiting.append((send.want.turn.rank, self.sends, job))
            self._begin()

    def step(self) -> None:
        """Feed, then go to the end of the chunk that ends first."""
        self.feed()
        ends = [worker.running[1] for worker in self.workers.values() if worker.running is not None]
        assert ends, "nothing runs"
        self.now = min(ends)
        for worker in self.workers.values():
            if worker.running is not None and worker.running[1] <= self.now:
                job, worker.running = worker.running[0], None
                job.in_flight, job.done = job.in_flight - 1, job.done + 1
        self._begin()

    def _begin(self) -> None:
        for node, worker in self.workers.items():
            if worker.running is None and worker.waiting:
                worker.waiting.sort(key=lambda entry: entry[:2])
                job = worker.waiting.pop(0)[2]
                worker.running = (job, self.now + job.chunk_s)
                self.begun.append((self.now, node, job))

    def _seats(self) -> list[Seat]:
        return [
            Seat(
                node=node, boot="b", device_type="cpu",
                running=_load(worker.running[0]) if worker.running is not None else None,
                waiting=tuple(_load(job) for _, _, job in worker.waiting),
            )
            for node, worker in self.workers.items()
        ]  # fmt: skip

    def _wants(self) -> list[Want]:
        open_jobs = [job for job in self.jobs if job.left or job.in_flight]
        flying: dict[str, int] = {}
        since: dict[str, float] = {}
        for job in open_jobs:
            flying[job.user] = flying.get(job.user, 0) + job.in_flight
            since[job.user] = max(since.get(job.user, job.submitted), job.issued_at)
        return [
            Want(
                job=job.name, name=job.name, user=job.user, chunk=None, model=None, device_type=None,
                turn=Turn(
                    rank=rank_of(job.priority, waited_s=self.now - max(job.submitted, job.issued_at),
                                 ageing_s=self.ageing_s),
                    user_in_flight=flying[job.user], user_since=since[job.user], in_flight=job.in_flight, age=age,
                ),
            )
            for age, job in enumerate(open_jobs)
            if job.left
        ]  # fmt: skip


def _load(job: PaperJob) -> Load:
    return Load(job.name, 0, RANKS[job.priority])
