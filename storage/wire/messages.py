"""What the dispatcher and the workers say to each other: chunks, manifests, heartbeats, orders.

All of them are small JSON with a schema. A message names its work by ids and ranges; the words themselves (prompts,
options) stay in the spec, which the worker reads from the store and checks by its hash.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from storage.spec.plan import Plan

Ranges = list[list[int]]  # as Numbers.to_json gives them
FLAGS: Final = ("truncated", "nsfw", "low_variance")  # what may be said of a picture; columns of the image table


def device_key(name: str, memory_bytes: int) -> str:
    """The kind of a device by its name and memory. Whole GiB, as drivers keep some memory back."""
    memory = f" {round(memory_bytes / 2**30)} GiB" if memory_bytes else ""
    return f"{name}{memory}"


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _without_nul(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL stores no NUL


Line = Annotated[str, AfterValidator(_without_nul)]
Count = Annotated[int, Field(ge=0, lt=2**63)]  # what a column holds
Side = Annotated[int, Field(ge=1, le=65_536)]  # pixels


class ModelEntry(_Message):
    """What a worker found out about one model."""

    kind: Line = "checkpoint"
    digest: Line
    family: Line  # pipeline class of a checkpoint; of a part its class, or what it fits: sd1, sd2, sdxl, other
    width: Side | None = None  # of a checkpoint: the size that it was made for
    height: Side | None = None
    guidance_scale: Annotated[float, Field(ge=0)] | None = None  # that the family's pipeline takes where nobody says


class ChunkMessage(_Message):
    """One Celery task `render`: find out about the models of a job, or render some of its images."""

    kind: Literal["resolve", "render"]
    job: str
    chunk: int
    attempt: int
    spec_hash: str
    ranges: Ranges = []
    plan: Plan | None = None
    models: dict[str, ModelEntry] = {}  # by name in the job file; other bytes are refused
    alone: bool = False  # each image in a call of its own: a batch of them ended a worker's process before


class MadeImage(_Message):
    """One image that lies in the store."""

    number: Count
    key: Line
    sha256: Line
    pixel_sha256: Line  # over "WxH:" and the RGB bytes
    bytes: Count
    xxh3_64: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None  # checksum of the object
    width: Side
    height: Side
    recipe_hash: str
    flags: list[Line] = []  # of FLAGS
    phash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None  # perceptual hash
    scores: dict[Line, float] = {}  # what the job's scorers gave
    preview: Line | None = None  # key of the strip of step previews
    seconds: dict[str, float] = {}  # phase -> seconds, this image's share


class FailedImage(_Message):
    """One image that could not be made, and why."""

    number: Count
    reason: Line  # a short class: "error", "non_finite", ...
    detail: Line


class Fault(_Message):
    """What ended a run early, and the images that were in the pipeline then; they stand under `untried` too."""

    reason: Literal["out_of_memory", "device_error"]
    detail: Line
    ranges: Ranges


class Manifest(_Message):
    """What came of one run. Written after everything it names."""

    manifest_schema: Literal[1] = 1
    job: str
    chunk: Annotated[int, Field(ge=0, lt=2**31)]
    attempt: Annotated[int, Field(ge=0, lt=2**31)]
    run: Line
    node: Line
    boot: Line
    spec_hash: str
    plan: Plan | None
    environment: dict[str, Any]  # library versions and device
    device: Line = ""  # `device_key`, to which a plan that does not fit is held
    models: dict[str, ModelEntry]
    images: list[MadeImage] = []
    failed: list[FailedImage] = []
    untried: Ranges = []
    fatal: Line | None = None  # a sentence: nothing of this job can be rendered here
    fatal_here: bool = False  # only here: another worker may be able to (a model that this host does not have)
    fault: Fault | None = None
    started: float  # Unix seconds, the worker's clock
    finished: float
    seconds: dict[str, float]  # phase -> seconds of the whole run


class AttemptName(_Message):
    """One publish of one chunk."""

    job: str
    chunk: int
    attempt: int


class Holding(_Message):
    """The chunk that a worker has in its hands."""

    job: str
    chunk: int
    attempt: int
    run: str
    phase: Literal["loading", "running", "uploading", "stored"]
    step: int = 0
    steps: int = 0
    images: int = 0  # stored so far
    of: int = 0
    batch: Ranges = []  # the images in the pipeline now


class Ended(_Message):
    """What a process that owned a device was doing when it died, as the next one of that worker found it written."""

    job: str
    chunk: int
    attempt: int
    batch: Ranges  # the images in its pipeline then
    cause: Literal["died", "hung"]


class Heartbeat(_Message):
    """The whole state of a worker, overwritten by its child every second."""

    node: str
    boot: str  # one life of the Celery node
    child: str  # one life of the process that owns the device
    beat: int  # grows by one each time
    device_type: Literal["cpu", "cuda"]
    device: str  # for people: "cpu", "NVIDIA H100"
    threads: int
    memory_bytes: int  # of the device; 0 where unknown
    renderer: str
    holding: Holding | None = None
    resident: list[str] = []  # digests of the loaded models
    epoch: str | None = None  # as last read from Redis
    spooled: list[AttemptName] = []  # done, and on this worker's disk until the store takes them
    ended: Ended | None = None  # how the child before this one died, while that is not long ago
    trouble: Line | None = None  # for people: what keeps it from working

    @property
    def device_key(self) -> str:
        """The kind of device: two of one key hold the same plans."""
        return device_key(self.device, self.memory_bytes)


class Orders(_Message):
    """What the dispatcher wants of a worker. No orders means carry on."""

    stop_jobs: list[str] = Field(default=[], description="jobs whose chunks end at the next step")
    stop: bool = Field(default=False, description="every chunk ends at the next step: the device is wanted back")


def parse_heartbeats(values: Iterable[bytes]) -> list[Heartbeat]:
    """Heartbeats as Redis holds them; what cannot be read is left out, as if silent."""
    beats = []
    for raw in values:
        try:
            beats.append(Heartbeat.model_validate_json(raw))
        except ValueError:
            continue
    return beats
