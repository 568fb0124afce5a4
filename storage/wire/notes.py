"""What the dispatcher tells the store of jobs and chunks, so that the store alone can tell it again.

    jobs/<job>/job.json            the job, without its counters: those are the rows'
    jobs/<job>/notes/<chunk>.json  how a chunk ended, written after the rows
    jobs/<job>/dropped.json        its user wanted what was made forgotten
    jobs/<job>/removed.json        its rows were removed on purpose

A note names the manifest that counts, and spells out only the rows that no manifest tells: links, images that the
dispatcher failed, images that were found again elsewhere.
"""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.spec.plan import Plan
from storage.states import ChunkState, ImageState, JobState, Priority, Reuse
from storage.wire.messages import ModelEntry, Ranges

JOBS: Final = "jobs/"
NOTES: Final = "notes"  # folder of a job's chunk notes


class _Note(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # a newer farm may say more

    note_schema: Literal[1] = 1


class SizePlan(BaseModel):
    """The plan that is frozen for one image size of a job."""

    model_config = ConfigDict(frozen=True)

    width: int  # pixels
    height: int
    plan: Plan


class JobNote(_Note):
    """A job."""

    id: str
    name: str
    source: str
    spec_hash: str
    specs: list[str] = []  # hashes, before it was extended
    state: JobState | None  # None while it is open
    reason: str | None = None
    priority: Priority
    reuse: Reuse
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    models: dict[str, ModelEntry] | None = None  # None until resolved
    plans: list[SizePlan] = []


class NotedImage(BaseModel):
    """A row that no manifest tells."""

    model_config = ConfigDict(frozen=True)

    number: int
    state: ImageState
    attempt: int
    run: str
    worker: str
    plan: str  # a key of ChunkNote.plans
    environment: str  # a key of ChunkNote.environments
    linked_job: str | None = None
    linked_number: int | None = None
    key: str | None = None
    preview_key: str | None = None
    sha256: str | None = None
    pixel_sha256: str | None = None
    bytes: int | None = None
    xxh3_64: str | None = None
    phash: str | None = None
    scores: dict[str, float] = {}
    flags: list[str] = []
    reason: str | None = None
    detail: str | None = None


class ChunkNote(_Note):
    """How a chunk ended."""

    job: str
    chunk: int
    kind: Literal["resolve", "render", "link"]
    state: ChunkState
    ranges: Ranges
    model: str | None = None
    attempt: int
    node: str | None = None
    plan: Plan | None = None
    manifest: str | None = None  # key of the one that counts
    made: Ranges = Field(default=[], description="images as that manifest tells them")
    rows: list[NotedImage] = []
    plans: dict[str, Plan] = {}  # by hash
    environments: dict[str, dict[str, Any]] = {}  # by hash


class EndNote(_Note):
    """A job of which nothing is to be shown any more."""

    job: str
    at: float  # Unix seconds


Note = JobNote | ChunkNote | EndNote


def job_folder(job: str) -> str:
    """What all keys of a job start with."""
    return f"{JOBS}{job}/"


def job_note_key(job: str) -> str:
    """The note about a job."""
    return f"{job_folder(job)}job.json"


def chunk_note_key(job: str, chunk: int) -> str:
    """The note about a chunk."""
    return f"{job_folder(job)}{NOTES}/{chunk}.json"


def dropped_key(job: str) -> str:
    """Says that what was made is to be forgotten."""
    return f"{job_folder(job)}dropped.json"


def removed_key(job: str) -> str:
    """Says that the rows of a job were removed on purpose, and when."""
    return f"{job_folder(job)}removed.json"
