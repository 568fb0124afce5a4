"""The images of a chunk through the pipeline, batch by batch. On the device's thread.

What a pipeline raises is sorted (`faults`): memory and device end the run, since what comes after would fare no better
and nothing is wrong with the images; anything else may be one image's, so each is tried alone before it fails.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from storage.errors import FarmError, ModelMissing, ModelUnusable, OptionRefused, RefusedHere, TransientError
from storage.spec import Job, ModelFacts, Numbers
from storage.spec.named_code import CODE_KINDS, code_of, named_by
from storage.spec.number import place_of
from storage.spec.plan import Plan
from storage.spec.quality import scorers_of
from storage.spec.recipe import model_key, models_of
from storage.wire.messages import ChunkMessage, Ranges
from worker.faults import DEVICE_ERROR, OUT_OF_MEMORY, classify, is_of_device, let_go
from worker.renderer import Flaw, Picture, StopRendering
from worker.runs.patience import Patience
from worker.runs.rendering.batches import Batch, Wanted, cut
from worker.runs.rendering.faults import Broken, OnlyHere
from worker.runs.rendering.scoring import load_scorers
from worker.runs.rendering.watching import BatchWatch
from worker.runs.storing.finishing import Drawn, Finishing
from worker.runs.tools import Tools
from worker.scoring import Scorer

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class Seconds:
    """Where the time of a run went."""

    started: float = field(default_factory=time.time)
    begun: float = field(default_factory=time.monotonic)
    spent: dict[str, float] = field(default_factory=lambda: {"load": 0.0, "render": 0.0})

    def timed(self, phase: str, work: Callable[[], T]) -> T:
        """Do `work` and count its time."""
        begun = time.monotonic()
        try:
            return work()
        finally:
            self.spent[phase] += time.monotonic() - begun


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a run was asked to do, and with what."""

    message: ChunkMessage
    tools: Tools
    patience: Patience
    seconds: Seconds

    def must_stop(self) -> bool:
        """Whether it is to end now."""
        return self.tools.level.must_stop(self.message.job)

    def load(self, work: Callable[[], T], *, what: str) -> T:
        """Resolve or load one model, on this thread; waits for a store that is away. Raises what `work` raises."""

        def attempt() -> T:
            with self.tools.level.loading():
                return work()

        return self.seconds.timed("load", lambda: self.patience.insist_here(attempt, what=what))


class Drawing:
    """The images of one chunk."""

    def __init__(self, order: Order, job: Job, *, plan: Plan, done: Finishing) -> None:
        """Draw the images of `job` that the order names, and hand them to `done`."""
        self._order = order
        self._message = order.message
        self._tools = order.tools
        self._job = job
        self._plan = plan
        self._done = done
        self._loaded: tuple[str, ...] = ()  # models of the last batch
        self._checked: set[str] = set()  # models whose bytes were compared
        self._tried: Batch | None = None  # that room was made for

    def run(self) -> None:
        """Draw them all.

        Raises:
            StopRendering: Told to stop.
            Broken: The device, or its memory, gave out.
            OnlyHere: This host lacks something.
            PermanentError: No host can do it.
            TransientError: The store is away, and the run is told to stop.
        """
        self._done.scorers = self._scorers()
        for key in code_of(self._job.spec):
            if key in self._message.models:  # older jobs do not know what code they began with
                self._compare(key)
        for batch in cut(self._wanted(), size=self._plan.batch):
            for part in batch.alone() if self._message.alone else [batch]:
                self._listen()
                ready = self._with_inputs(part)
                if ready.images:
                    self._draw(ready)

    def _scorers(self) -> dict[str, Scorer]:
        """What scores the pictures of the job, of the bytes that it was frozen with."""
        for name, entry in scorers_of(self._job.spec).items():
            self._compare(model_key(name, entry["model"]))
        return load_scorers(self._job.spec, self._message.models, self._tools, load=self._order.load)

    def _draw(self, batch: Batch) -> None:
        """Load and render. Nobody asked the models about values that came with an extension of the job."""
        try:
            self._load(batch)
            self._listen()
            self._render(batch)
        except RefusedHere:
            raise
        except OptionRefused as error:
            known = len(self._job.products[0])
            if all(place_of(wanted.number) < known for wanted in batch.images):
                raise
            if len(batch.images) == 1:
                self._done.fail([batch.images[0].number], Flaw("refused", str(error)))
                return
            for alone in batch.alone():
                self._draw(alone)

    def _listen(self) -> None:
        if self._order.must_stop():
            raise StopRendering

    def _wanted(self) -> Iterator[Wanted]:
        facts = {name: ModelFacts(**entry.model_dump()) for name, entry in self._message.models.items()}
        for number in Numbers.from_json(self._message.ranges):
            place = self._job[number]
            if place is None:
                self._done.fail([number], Flaw("error", "the job leaves this place empty"))
                continue
            used = tuple(model_key(kind, name) for kind, name in models_of(place.values))
            yield Wanted(number, used, self._job.recipe(place, facts))

    def _with_inputs(self, batch: Batch) -> Batch:
        """The images of a batch whose input images can be had; one that is missing fails one image, not its company."""
        ready = []
        for image in batch.images:
            flaw = self._tools.inputs.flaw(image.recipe, patience=self._order.patience)
            if flaw is None:
                ready.append(image)
            else:
                self._done.fail([image.number], flaw)
        return Batch(tuple(ready), batch.size)

    def _load(self, batch: Batch) -> None:
        """Make the models of a batch resident, if their bytes are those that the job was frozen with."""
        renderer = self._tools.renderer
        if batch.models != self._loaded:
            self._tools.level.update(phase="loading")
        for name in batch.models:
            self._compare(name)
        while True:
            try:
                self._order.load(lambda: renderer.load(batch.recipes[0], plan=self._plan), what="models")
                break
            except FarmError:
                raise
            except Exception as error:
                if not is_of_device(error):
                    raise
                problem = classify(error)
                let_go(error)
            self._make_room(batch, problem)
        self._loaded = batch.models
        self._tools.level.resident = tuple(renderer.resident())

    def _compare(self, key: str) -> None:
        """Find a model or code on this host and look at its bytes, once a run."""
        if key in self._checked:
            return
        wanted, model = self._message.models[key].digest, named_by(self._job.spec)[key]
        resolve = partial(self._tools.resolve, model["source"], kind=model["kind"])
        try:
            found = self._order.load(resolve, what=key)
        except (ModelMissing, ModelUnusable) as error:  # others found it, or there would be no chunk
            raise OnlyHere(str(error)) from None
        if found.digest != wanted:
            what = "its code has" if model["kind"] in CODE_KINDS else "its files have"
            reason = f"{what} digest {found.digest[:19]} here, and {wanted[:19]} when the job was frozen"
            said = ModelUnusable(key, f"{reason}; bring those files back, or submit the job anew")
            raise OnlyHere(str(said))
        self._checked.add(key)

    def _render(self, batch: Batch) -> None:
        """One call of the pipeline; more, where it goes wrong."""
        steps = batch.recipes[0]["steps"]
        previews = self._job.spec.previews
        watch = BatchWatch(
            self._tools.level, job=self._message.job, steps=steps, slots=len(batch.images),
            every=previews["every"] if previews else None, previewer=self._previewer(),
        )  # fmt: skip
        begun = time.monotonic()
        problem: tuple[str, str] | None = None
        results: list[Picture | Flaw] = []
        try:
            with self._call(batch, steps):
                results = self._tools.renderer.render(
                    batch.recipes, plan=self._plan, watch=watch, images=self._image
                )  # fmt: skip
        except (StopRendering, OptionRefused, ModelMissing, ModelUnusable, TransientError):
            raise
        except Exception as error:  # noqa: BLE001  # a pipeline may raise anything
            problem = classify(error)
            let_go(error)
        took = time.monotonic() - begun
        self._order.seconds.spent["render"] += took
        if problem is not None:
            self._fail(batch, problem)
            return
        for wanted, result, frames in zip(batch.images, results, watch.frames, strict=False):  # padding ends here
            share = took / len(batch.images)
            drawn = Drawn(number=wanted.number, recipe=wanted.recipe, picture=result, frames=frames, seconds=share)
            self._done.take(drawn, self._plan)

    def _call(self, batch: Batch, steps: int) -> AbstractContextManager[None]:
        first = batch.recipes[0]
        kind = (batch.models, first["mode"], first["width"], first["height"], self._plan)
        return self._tools.level.batch(_ranges(batch), kind=kind, steps=steps, compiles=self._plan.compile)

    def _image(self, key: str) -> "Image":
        with self._tools.level.waiting():
            return self._tools.inputs.get(key, patience=self._order.patience)

    def _fail(self, batch: Batch, problem: tuple[str, str]) -> None:
        """A call went wrong. One image may have spoilt it for all: try each by itself, in a batch of the same shape."""
        reason, detail = problem
        names = {"job": self._message.job, "chunk": self._message.chunk, "images": len(batch.images)}
        log.warning("batch failed", extra={**names, "reason": detail})
        if reason in (OUT_OF_MEMORY, DEVICE_ERROR):
            self._make_room(batch, problem)
            self._load(batch)
            self._render(batch)
        elif len(batch.images) == 1 or reason != "error":
            self._done.fail([wanted.number for wanted in batch.images], Flaw(reason, detail))
        else:
            for alone in batch.alone():
                self._listen()
                self._render(alone)

    def _make_room(self, batch: Batch, problem: tuple[str, str]) -> None:
        """Free what other models hold, so that it is worth trying again, once a batch. Raises Broken."""
        reason, detail = problem
        if reason == OUT_OF_MEMORY:
            renderer = self._tools.renderer
            has_room = renderer.recover()
            self._tools.level.resident = tuple(renderer.resident())
            if has_room and self._tried is not batch:
                self._tried = batch
                log.info("other models made room", extra={"left": len(renderer.resident()), "reason": detail})
                return
            detail = f"{detail} ({renderer.memory()})"
        raise Broken(reason, detail, _ranges(batch))

    def _previewer(self) -> str | None:
        """Digest of the tiny VAE that the job wants its previews from."""
        name = self._job.spec.previews["taesd"] if self._job.spec.previews else None
        if name is None:
            return None
        key = model_key("vae", name)
        self._compare(key)
        return self._message.models[key].digest


def _ranges(batch: Batch) -> Ranges:
    return Numbers.of(wanted.number for wanted in batch.images).to_json()
