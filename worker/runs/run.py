"""One run of a chunk: every image made, failed with a reason, or left untried, and a manifest that says which.

Nothing but the end of the process keeps a run from its manifest. What the store refuses is tried again, then kept on
this worker's disk; what a pipeline raises becomes a failed image; what is wrong with the whole job becomes `fatal`;
what is wrong with this device becomes a `fault`, and nothing has failed for it.
"""

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from storage.blobs.base import is_key
from storage.errors import DiskFull, ModelMissing, PermanentError, RefusedHere, TransientError
from storage.spec import Job, Numbers
from storage.spec.named_code import code_of, named_by
from storage.spec.plan import Plan
from storage.wire import keys
from storage.wire.messages import ChunkMessage, FailedImage, Fault, Holding, MadeImage, Manifest, ModelEntry, device_key
from worker.faults import DEVICE_ERROR, OUT_OF_MEMORY, classify, let_go
from worker.named_code import check_fresh
from worker.renderer import Flaw, StopRendering
from worker.runs.patience import Patience
from worker.runs.rendering.asking import check_job
from worker.runs.rendering.drawing import Drawing, Order, Seconds
from worker.runs.rendering.faults import Broken, OnlyHere
from worker.runs.rendering.scoring import load_scorers
from worker.runs.storing.encoding import Encoder
from worker.runs.storing.finishing import Finishing
from worker.runs.storing.picture import LOW_VARIANCE
from worker.runs.storing.spool import Delivery
from worker.runs.tools import Tools

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a run ended, apart from its images."""

    fatal: str | None = None  # why nothing of the job can be made
    fatal_here: bool = False  # by this worker; another may be able to
    fault: Fault | None = None


class Run:
    """One execution of one attempt."""

    def __init__(self, message: ChunkMessage, tools: Tools, *, task_id: str | None = None) -> None:
        self.id = keys.new_id()
        self.device_lost = False  # after such an error every further call fails, until the process is a new one
        self._message = message
        self._tools = tools
        self._task_id = task_id
        self._models: dict[str, ModelEntry] = dict(message.models)
        self._prefix = keys.run_prefix(message.job, message.chunk, message.attempt, self.id)
        self._seconds = Seconds()
        self._patience = Patience(lambda: tools.level.must_stop(message.job), tools.time_scale)
        self._delivery = Delivery(tools.spool, run=self.id, prefix=self._prefix, patience=self._patience)
        self._done = Finishing(tools, delivery=self._delivery, patience=self._patience)
        self._reading = replace(self._patience, tell=tools.level.set_lacks)  # what cannot be stored, the spool tells
        self._order = Order(message=message, tools=tools, patience=self._reading, seconds=self._seconds)

    def execute(self) -> str | None:
        """Do the chunk.

        Returns:
            The key of the manifest, if the store has it. None: the manifest waits in the spool, which will send it, or
            there is none, and the dispatcher will offer the chunk again.
        """
        if not is_key(keys.manifest_key(self._prefix)):
            log.error("message refused", extra={"reason": "its ids make no key of a store"})
            return None
        self._tools.level.hold(self._holding(), task_id=self._task_id)
        is_kept = False
        try:
            ending = self._ending()
            self._tools.level.update(phase="uploading")
            self._tools.uploads.finish()
            if ending is None:
                return None
            is_stored = self._store_manifest(ending)
            is_kept = True
            return keys.manifest_key(self._prefix) if is_stored else None
        except (TransientError, DiskFull) as error:
            log.error("run given up", extra={**self._names(), "reason": error})
            return None
        finally:
            if not is_kept:
                self._delivery.abandon()
            self._tools.level.resident = tuple(self._tools.renderer.resident())
            self._tools.level.hold(None)

    def _ending(self) -> Ending | None:
        """Do the work; None: nothing can be said of it."""
        try:
            return self._resolve() if self._message.kind == "resolve" else self._render()
        except StopRendering:
            log.info("chunk stopped", extra=self._names())
        except TransientError as error:
            if not self._order.must_stop():
                raise
            log.info("chunk stopped", extra={**self._names(), "reason": error})
        except (OnlyHere, ModelMissing, RefusedHere, DiskFull) as error:
            return Ending(fatal=str(error), fatal_here=True)
        except PermanentError as error:
            return Ending(fatal=str(error))
        return None if self._message.kind == "resolve" else Ending()  # half a resolve would be taken for a whole one

    def _resolve(self) -> Ending | None:
        """Find out about the job's models and code."""
        job, renderer = self._job(), self._tools.renderer
        try:
            for code in code_of(job.spec).values():
                check_fresh(code)
            for name, model in named_by(job.spec).items():
                resolve = partial(self._tools.resolve, model["source"], kind=model["kind"])
                self._models[name] = self._order.load(resolve, what=name)
            load_scorers(job.spec, self._models, self._tools, load=self._order.load)
            check_job(job, self._models, renderer, stop=self._order.must_stop, load=self._order.load)
        except (StopRendering, PermanentError, TransientError):
            raise
        except Exception as error:
            log.exception("chunk failed", extra=self._names())
            reason, detail = classify(error)
            let_go(error)
        else:
            return Ending()
        if reason == DEVICE_ERROR:
            self.device_lost = True
            return None  # how this process ends is told by the next
        if reason == OUT_OF_MEMORY:
            renderer.recover()
            detail = f"its models do not fit {renderer.memory()}: {detail}; start a worker on a larger device"
        return Ending(fatal=detail, fatal_here=True)

    def _render(self) -> Ending:
        """Make the chunk's images."""
        try:
            Drawing(self._order, self._job(), plan=self._plan(), done=self._done).run()
        except Broken as broken:
            log.error("chunk broken off", extra={**self._names(), "reason": broken.fault.detail})
            self.device_lost = broken.fault.reason == DEVICE_ERROR
            return Ending(fault=broken.fault)
        except (StopRendering, PermanentError, TransientError):
            raise
        except Exception as error:  # a bug, or a library's: it must not take the worker along
            log.exception("chunk failed", extra=self._names())
            self._tools.uploads.finish()  # what was drawn before may still be made
            self._done.fail(self._left(), Flaw(*classify(error)))
        return Ending()

    def _job(self) -> Job:
        name, spec_hash = self._message.job, self._message.spec_hash
        what = keys.spec_key(name, spec_hash)
        job = self._reading.insist(lambda: self._tools.specs.load(name, spec_hash=spec_hash), what=what)
        self._done.keep_blank = job.spec.allow_blank or LOW_VARIANCE in (job.spec.quality or {})
        self._done.encoder = Encoder(job.spec.output, allowed=self._tools.watermarks)
        return job

    def _plan(self) -> Plan:
        plan, device = self._message.plan, self._tools.renderer.device
        if plan is None:
            raise PermanentError("the chunk has no plan; the dispatcher and this worker are of different versions")
        if plan.device_type != device.type and self._tools.renderer.name != "fake":
            raise OnlyHere(f"the plan is for {plan.device_type}, and this worker has {device.type}")
        return plan

    def _left(self) -> list[int]:
        settled = self._done.numbers
        return [number for number in Numbers.from_json(self._message.ranges) if number not in settled]

    def _store_manifest(self, ending: Ending) -> bool:
        message, images, failed = self._message, self._done.images, self._done.failed
        device = self._tools.renderer.device
        spent = {**self._seconds.spent, **self._done.seconds, "wait": self._delivery.waited_s}
        spent["total"] = time.monotonic() - self._seconds.begun
        manifest = Manifest(
            job=message.job, chunk=message.chunk, attempt=message.attempt, run=self.id,
            node=self._tools.node, boot=self._tools.boot, spec_hash=message.spec_hash, plan=message.plan,
            environment=self._tools.renderer.environment(), device=device_key(device.name, device.memory_bytes),
            models=self._models, images=sorted(images, key=_number), failed=sorted(failed, key=_number),
            untried=Numbers.of(self._left()).to_json(),
            fatal=ending.fatal, fatal_here=ending.fatal_here, fault=ending.fault,
            started=self._seconds.started, finished=time.time(),
            seconds={phase: round(seconds, 4) for phase, seconds in spent.items()},
        )  # fmt: skip
        is_stored = self._delivery.close(manifest, manifest.model_dump_json().encode())
        self._tools.level.update(phase="stored")
        counts = {"images": len(images), "failed": len(failed), "seconds": round(spent["total"], 2)}
        said = {"fatal": ending.fatal} if ending.fatal else {}
        event = "chunk stored" if is_stored else "chunk spooled"
        log.info(event, extra={**self._names(), **counts, **said})
        return is_stored

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
