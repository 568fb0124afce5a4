"""The states of jobs and chunks, and the only steps between them.

    job      queued ──► resolving ──► running ──► done
                │           │            │
                └───────────┴────────────┴─────► failed | cancelled

    chunk    ready ──► issued ──► done
               ▲  └──────┼──────► dropped
               └─────────┘          (re-offered with attempt + 1)

A ready chunk becomes done too: the manifest of an attempt that was given up may still come in.

A state belongs to the dispatcher. Users write wishes (`run`, `cancel`), which it turns into states.
"""

from collections.abc import Mapping
from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # no worker has looked at its models yet
    RESOLVING = "resolving"  # a worker is finding its models' digests
    RUNNING = "running"  # chunks are issued
    DONE = "done"  # every image is made or has failed
    FAILED = "failed"  # it cannot be rendered at all; says why
    CANCELLED = "cancelled"


class ChunkState(StrEnum):
    """Where a chunk stands."""

    READY = "ready"  # waits for a worker
    ISSUED = "issued"  # one worker has it, or a message to it is on the way
    DONE = "done"  # its manifest is recorded
    DROPPED = "dropped"  # its job ended before it did


class Wish(StrEnum):
    """What the user wants of a job."""

    RUN = "run"
    CANCEL = "cancel"


class ImageState(StrEnum):
    """How an image ended."""

    DONE = "done"
    FAILED = "failed"


JOB_STEPS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RESOLVING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RESOLVING: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
CHUNK_STEPS: Mapping[ChunkState, frozenset[ChunkState]] = {
    ChunkState.READY: frozenset({ChunkState.ISSUED, ChunkState.DONE, ChunkState.DROPPED}),
    ChunkState.ISSUED: frozenset({ChunkState.READY, ChunkState.DONE, ChunkState.DROPPED}),
    ChunkState.DONE: frozenset(),
    ChunkState.DROPPED: frozenset(),
}
OPEN_JOBS = frozenset(state for state, after in JOB_STEPS.items() if after)


def sources_of(state: JobState) -> frozenset[JobState]:
    """The states that a job may come from to enter `state`."""
    return frozenset(before for before, after in JOB_STEPS.items() if state in after)


def chunk_sources_of(state: ChunkState) -> frozenset[ChunkState]:
    """The states that a chunk may come from to enter `state`."""
    return frozenset(before for before, after in CHUNK_STEPS.items() if state in after)
