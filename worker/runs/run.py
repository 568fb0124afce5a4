"""One run of a chunk: every image made, failed with a reason, or left untried, and a manifest that says which.

Nothing but the end of the process keeps a run from its manifest. What the store refuses is tried again until the node
is told to stop; what a pipeline raises becomes a failed image; what is wrong with the whole job becomes `fatal`.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from storage.errors import DiskFull, ModelUnusable, OptionRefused, PermanentError, TransientError
from storage.spec import Job, ModelFacts, Numbers
from storage.spec.plan import Plan
from storage.spec.recipe import model_key, models_of
from storage.wire import keys
from storage.wire.messages import ChunkMessage, FailedImage, Holding, MadeImage, Manifest, ModelEntry
from worker.renderer import Flaw, StopRendering
from worker.runs.asking import check_job
from worker.runs.batches import Batch, Wanted, cut
from worker.runs.finishing import Drawn, Finishing
from worker.runs.patience import Patience
from worker.runs.tools import Tools
from worker.runs.watching import BatchWatch

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Seconds:
    """Where the time of a run went."""

    started: float = field(default_factory=time.time)
    begun: float = field(default_factory=time.monotonic)
    spent: dict[str, float] = field(default_factory=lambda: {"load": 0.0, "render": 0.0})


class Run:
    """One execution of one attempt."""

    def __init__(self, message: ChunkMessage, tools: Tools, *, task_id: str | None = None) -> None:
        self.id = keys.new_id()
        self._message = message
        self._tools = tools
        self._prefix = keys.run_prefix(message.job, message.chunk, message.attempt, self.id)
        self._patience = Patience(self._must_stop)
        self._seconds = Seconds()
        self._task_id = task_id
        self._models: dict[str, ModelEntry] = dict(message.models)
        self._loaded: tuple[str, ...] = ()  # models of the last batch
        self._checked: set[str] = set()  # models whose bytes were compared
        self.device_lost = False  # after such an error every further call fails, until the process is a new one
        self._done = Finishing(tools, prefix=self._prefix, patience=self._patience)

    def execute(self) -> str | None:
        """Do the chunk.

        Returns:
            The key of the manifest; None if the store is away and the node stops.
        """
        self._tools.level.hold(self._holding(), task_id=self._task_id)
        try:
            fatal = self._fatal()
            self._tools.level.update(phase="uploading")
            self._tools.uploads.finish()
            return self._store_manifest(fatal)
        except (TransientError, DiskFull) as error:
            log.error("run given up", extra={**self._names(), "reason": error})
            return None
        finally:
            self._tools.level.resident = tuple(self._tools.renderer.resident())
            self._tools.level.hold(None)

    def _fatal(self) -> str | None:
        """Do the work; say why nothing of this job can be made here, if so."""
        try:
            if self._message.kind == "resolve":
                self._resolve()
            else:
                self._render_all()
        except StopRendering:
            log.info("chunk stopped", extra=self._names())
        except PermanentError as error:
            return str(error)
        except TransientError:
            raise
        except Exception as error:  # a bug, or a library's: it must not take the worker along
            log.exception("chunk failed", extra=self._names())
            self._tools.uploads.finish()  # what was drawn before may still be made
            self._done.fail(self._left(), Flaw(*_classify(error)))
        return None

    def _resolve(self) -> None:
        job, renderer = self._job(), self._tools.renderer
        for name, model in job.spec.models.items():
            self._models[name] = self._timed("load", partial(renderer.resolve, model["source"], kind=model["kind"]))
        self._timed("load", lambda: check_job(job, self._models, renderer, stop=self._must_stop))

    def _render_all(self) -> None:
        job, plan = self._job(), self._plan()
        for batch in cut(self._wanted(job), size=plan.batch):
            if self._must_stop():
                raise StopRendering
            ready = self._with_inputs(batch)
            if ready.images:
                self._load(ready, job, plan)
                self._render(ready, job, plan)

    def _must_stop(self) -> bool:
        return self._tools.level.must_stop(self._message.job)

    def _job(self) -> Job:
        name, spec_hash = self._message.job, self._message.spec_hash
        what = keys.spec_key(name)
        job = self._patience.insist(lambda: self._tools.specs.load(name, spec_hash=spec_hash), what=what)
        self._done.allow_blank = job.spec.allow_blank
        return job

    def _image(self, key: str) -> "Image":
        return self._tools.inputs.get(key, patience=self._patience)

    def _plan(self) -> Plan:
        plan, device = self._message.plan, self._tools.renderer.device
        if plan is None:
            raise PermanentError("the chunk has no plan; the dispatcher and this worker are of different versions")
        if plan.device_type != device.type and self._tools.renderer.name != "fake":
            raise PermanentError(f"the plan is for {plan.device_type}, and this worker has {device.type}")
        return plan

    def _wanted(self, job: Job) -> Iterator[Wanted]:
        facts = {name: ModelFacts(**entry.model_dump()) for name, entry in self._message.models.items()}
        for number in Numbers.from_json(self._message.ranges):
            place = job[number]
            if place is None:
                self._done.fail([number], Flaw("error", "the job leaves this place empty"))
                continue
            used = tuple(model_key(kind, name) for kind, name in models_of(place.values))
            yield Wanted(number, used, job.recipe(place, facts))

    def _load(self, batch: Batch, job: Job, plan: Plan) -> None:
        """Make the models of a batch resident, if their bytes are those that the job was frozen with."""
        renderer = self._tools.renderer
        if batch.models != self._loaded:
            self._tools.level.update(phase="loading")
        for name in batch.models:
            if name not in self._checked:
                self._timed("load", partial(self._compare, name, job.spec.models[name]))
        self._timed("load", lambda: renderer.load(batch.recipes[0], plan=plan))
        self._loaded = batch.models
        self._tools.level.resident = tuple(renderer.resident())

    def _compare(self, name: str, model: Mapping[str, str]) -> None:
        wanted = self._message.models[name].digest
        found = self._tools.renderer.resolve(model["source"], kind=model["kind"])
        if found.digest != wanted:
            reason = f"its files have digest {found.digest[:19]} here, and {wanted[:19]} when the job was frozen"
            raise ModelUnusable(name, f"{reason}; bring those files back, or submit the job anew")
        self._checked.add(name)

    def _with_inputs(self, batch: Batch) -> Batch:
        """The images of a batch whose input images can be had; one that is missing fails one image, not its company."""
        ready = []
        for image in batch.images:
            flaw = self._tools.inputs.flaw(image.recipe, patience=self._patience)
            if flaw is None:
                ready.append(image)
            else:
                self._done.fail([image.number], flaw)
        return Batch(tuple(ready), batch.size)

    def _render(self, batch: Batch, job: Job, plan: Plan) -> None:
        previews = job.spec.previews
        steps = batch.recipes[0]["steps"]
        every = previews["every"] if previews else None
        watch = BatchWatch(
            self._tools.level, job=self._message.job, steps=steps, slots=len(batch.images), every=every,
            previewer=self._previewer(job),
        )  # fmt: skip
        self._tools.level.update(phase="running", step=0, steps=steps)
        begun, problem = time.monotonic(), None
        try:
            results = self._tools.renderer.render(batch.recipes, plan=plan, watch=watch, images=self._image)
        except (StopRendering, OptionRefused, ModelUnusable):
            raise
        except Exception as error:  # noqa: BLE001  # a pipeline may raise anything
            problem = Flaw(*_classify(error))
        took = time.monotonic() - begun
        self._seconds.spent["render"] += took
        if problem is not None:
            self._apart(batch, job, plan, problem)
            return
        for wanted, result, frames in zip(batch.images, results, watch.frames, strict=False):  # padding ends here
            share = took / len(batch.images)
            drawn = Drawn(number=wanted.number, recipe=wanted.recipe, picture=result, frames=frames, seconds=share)
            self._done.take(drawn, plan)

    def _apart(self, batch: Batch, job: Job, plan: Plan, problem: Flaw) -> None:
        """One image may have spoilt it for all: try each by itself, in a batch of the same shape."""
        log.warning("batch failed", extra={**self._names(), "images": len(batch.images), "reason": problem.detail})
        if len(batch.images) == 1 or problem.reason != "error":
            self._done.fail([wanted.number for wanted in batch.images], problem)
            self.device_lost = problem.reason == "device_error"
            if self.device_lost:
                raise StopRendering
            return
        for alone in batch.alone():
            if self._must_stop():
                raise StopRendering
            self._render(alone, job, plan)

    def _previewer(self, job: Job) -> str | None:
        """Digest of the tiny VAE that the job wants its previews from."""
        name = job.spec.previews["taesd"] if job.spec.previews else None
        if name is None:
            return None
        key = model_key("vae", name)
        if key not in self._checked:
            self._timed("load", partial(self._compare, key, job.spec.models[key]))
        return self._message.models[key].digest

    def _timed(self, phase: str, work: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        try:
            return work()
        finally:
            self._seconds.spent[phase] += time.monotonic() - begun

    def _left(self) -> list[int]:
        settled = self._done.numbers
        return [number for number in Numbers.from_json(self._message.ranges) if number not in settled]

    def _store_manifest(self, fatal: str | None) -> str:
        message, images, failed = self._message, self._done.images, self._done.failed
        spent = {**self._seconds.spent, **self._done.seconds, "total": time.monotonic() - self._seconds.begun}
        manifest = Manifest(
            job=message.job, chunk=message.chunk, attempt=message.attempt, run=self.id,
            node=self._tools.node, boot=self._tools.boot, spec_hash=message.spec_hash, plan=message.plan,
            environment=self._tools.renderer.environment(), models=self._models,
            images=sorted(images, key=_number), failed=sorted(failed, key=_number),
            untried=Numbers.of(self._left()).to_json(), fatal=fatal,
            started=self._seconds.started, finished=time.time(),
            seconds={phase: round(seconds, 4) for phase, seconds in spent.items()},
        )  # fmt: skip
        key, data = keys.manifest_key(self._prefix), manifest.model_dump_json().encode()
        self._patience.insist(lambda: self._tools.store.put(key, data, content_type="application/json"), what=key)
        self._tools.level.update(phase="stored")
        counts = {"images": len(images), "failed": len(failed), "seconds": round(spent["total"], 2)}
        log.info("chunk stored", extra={**self._names(), **counts, **({"fatal": fatal} if fatal else {})})
        return key

    def _holding(self) -> Holding:
        message, total = self._message, len(Numbers.from_json(self._message.ranges))
        return Holding(
            job=message.job, chunk=message.chunk, attempt=message.attempt, run=self.id, phase="loading", of=total
        )

    def _names(self) -> dict[str, Any]:
        message = self._message
        return {"job": message.job, "chunk": message.chunk, "attempt": message.attempt, "run": self.id}


def _number(image: MadeImage | FailedImage) -> int:
    return image.number


def _classify(error: Exception) -> tuple[str, str]:
    """A short class and a sentence. By name, since this room must not import torch."""
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
    if type(error).__name__ in ("EmptyMask", "FlatDepth"):
        return "input_unusable", str(error)
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower():
        return "out_of_memory", text
    if type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error):
        return "device_error", text
    return "error", text
