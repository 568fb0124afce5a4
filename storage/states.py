"""The states of jobs and chunks, and the only steps between them.

    job      queued ──► resolving ──► running ──► done ──► running         (extended, or its failed images once more)
                │           │          ▲   │
                ▼           ▼          │   ├──► paused | stopped ──► running, queued, done
        paused | stopped  ...          └───┘
             any open one ──► failed | cancelled          failed ──► queued    (tried once more)

    chunk    ready ──► issued ──► done
               ▲  └──────┼──────► dropped
               └─────────┘          (re-offered with attempt + 1)

A ready chunk becomes done too: the manifest of an attempt that was given up may still come in.

A state belongs to the dispatcher. Users write wishes, which it turns into states.
"""

from collections.abc import Mapping
from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # no worker has looked at its models yet
    RESOLVING = "resolving"  # a worker is finding its models' digests
    RUNNING = "running"  # chunks are issued
    PAUSED = "paused"  # its user wished it
    STOPPED = "stopped"  # the farm stopped it: budget spent, deadline passed, or nothing of it succeeds; says why
    DONE = "done"  # every image is made or has failed
    FAILED = "failed"  # it cannot be rendered at all; says why
    CANCELLED = "cancelled"


class ChunkState(StrEnum):
    """Where a chunk stands."""

    READY = "ready"  # waits for a worker
    ISSUED = "issued"  # one worker has it, or a message to it is on the way
    DONE = "done"  # its manifest is recorded
    DROPPED = "dropped"  # its job ended before it did, or its images went on in other chunks


class Wish(StrEnum):
    """What the user wants of a job."""

    RUN = "run"
    PAUSE = "pause"  # at the next step
    PAUSE_AFTER_CHUNKS = "pause-after-chunks"  # what is running ends first
    RESUME = "resume"  # becomes "run" when acted on
    CANCEL = "cancel"  # what was made is kept
    DROP = "drop"  # cancel, and forget what was made


class Priority(StrEnum):
    """Which jobs go ahead of which. The most urgent first."""

    INTERACTIVE = "interactive"  # somebody waits for it
    NORMAL = "normal"
    BACKGROUND = "background"  # when nobody else wants the devices


class Reuse(StrEnum):
    """Whether an image that exists already, in any job, is linked instead of rendered."""

    SAME_PLAN = "same-plan"  # of the same recipe and the same plan
    ANY_PLAN = "any-plan"  # of the same recipe
    OFF = "off"


class ImageState(StrEnum):
    """How an image ended."""

    DONE = "done"
    FAILED = "failed"


_STATE = JobState
JOB_STEPS: Mapping[JobState, frozenset[JobState]] = {
    _STATE.QUEUED: frozenset({_STATE.RESOLVING, _STATE.PAUSED, _STATE.STOPPED, _STATE.FAILED, _STATE.CANCELLED}),
    _STATE.RESOLVING: frozenset({_STATE.RUNNING, _STATE.FAILED, _STATE.CANCELLED}),
    _STATE.RUNNING: frozenset({_STATE.DONE, _STATE.PAUSED, _STATE.STOPPED, _STATE.FAILED, _STATE.CANCELLED}),
    _STATE.PAUSED: frozenset({_STATE.QUEUED, _STATE.RUNNING, _STATE.DONE, _STATE.FAILED, _STATE.CANCELLED}),
    _STATE.STOPPED: frozenset(
        {_STATE.QUEUED, _STATE.RUNNING, _STATE.PAUSED, _STATE.DONE, _STATE.FAILED, _STATE.CANCELLED}
    ),
    _STATE.DONE: frozenset({_STATE.RUNNING}),
    _STATE.FAILED: frozenset({_STATE.QUEUED}),
    _STATE.CANCELLED: frozenset(),
}
CHUNK_STEPS: Mapping[ChunkState, frozenset[ChunkState]] = {
    ChunkState.READY: frozenset({ChunkState.ISSUED, ChunkState.DONE, ChunkState.DROPPED}),
    ChunkState.ISSUED: frozenset({ChunkState.READY, ChunkState.DONE, ChunkState.DROPPED}),
    ChunkState.DONE: frozenset(),
    ChunkState.DROPPED: frozenset(),
}
MOVING_JOBS = frozenset({JobState.QUEUED, JobState.RESOLVING, JobState.RUNNING})  # something happens by itself
OPEN_JOBS = MOVING_JOBS | {JobState.PAUSED, JobState.STOPPED}


def sources_of(state: JobState) -> frozenset[JobState]:
    """The states that a job may come from to enter `state`."""
    return frozenset(before for before, after in JOB_STEPS.items() if state in after)


def chunk_sources_of(state: ChunkState) -> frozenset[ChunkState]:
    """The states that a chunk may come from to enter `state`."""
    return frozenset(before for before, after in CHUNK_STEPS.items() if state in after)
