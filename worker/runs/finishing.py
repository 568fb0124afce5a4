"""What becomes of drawn pictures: looked at, encoded, stored, counted. On the upload threads.

A picture counts as made only when the store has taken it. One that it has not taken when the node stops is neither
made nor failed: as far as the farm knows, it was not tried.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.errors import DiskFull, TransientError
from storage.spec import digest
from storage.spec.plan import Plan
from storage.wire import keys
from storage.wire.messages import FailedImage, MadeImage
from worker.renderer import Flaw, Picture, Recipe, StopRendering
from worker.runs.patience import Patience
from worker.runs.picture import (
    BLANK,
    LOW_VARIANCE,
    PNG_TYPE,
    STRIP_TYPE,
    encode_png,
    encode_strip,
    judge,
    pixel_sha256,
    provenance,
)
from worker.runs.tools import Tools

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """One picture that came out of the pipeline, or a flaw in its place."""

    number: int
    recipe: Recipe
    picture: Picture | Flaw
    frames: "list[Image]"
    seconds: float  # its share of the call


class Finishing:
    """The outcome of one run, as it grows."""

    def __init__(self, tools: Tools, *, prefix: str, patience: Patience) -> None:
        self.allow_blank = False  # of the job; known once its spec was read
        self._tools = tools
        self._prefix = prefix
        self._patience = patience
        self._lock = threading.Lock()
        self.images: list[MadeImage] = []
        self.failed: list[FailedImage] = []
        self.seconds = {"encode": 0.0, "upload": 0.0}

    @property
    def numbers(self) -> set[int]:
        """The images that have an outcome."""
        with self._lock:
            return {image.number for image in self.images} | {image.number for image in self.failed}

    def fail(self, numbers: Iterable[int], flaw: Flaw) -> None:
        """Count images as failed."""
        with self._lock:
            self.failed.extend(FailedImage(number=number, reason=flaw.reason, detail=flaw.detail) for number in numbers)

    def take(self, drawn: Drawn, plan: Plan) -> None:
        """Hand a picture over; waits while the upload queue is full. Raises StopRendering if told to stop then."""
        picture = drawn.picture
        if isinstance(picture, Flaw):
            self.fail([drawn.number], picture)
        elif not self._tools.uploads.submit(lambda: self._finish(drawn, picture, plan), ends=self._patience.ends):
            raise StopRendering

    def _finish(self, drawn: Drawn, made: Picture, plan: Plan) -> None:
        picture, look = made.image, judge(made.image)
        if look == BLANK and not self.allow_blank and "nsfw" not in made.flags:
            self.fail([drawn.number], Flaw(BLANK, "every pixel has the same colour; allow_blank: true keeps such"))
            return
        flags = sorted(made.flags | ({LOW_VARIANCE} if look is not None else set()))
        begun = time.monotonic()
        data = encode_png(picture, provenance(drawn.recipe, plan, self._tools.renderer.libraries()))
        encoded = time.monotonic()
        key = keys.image_key(self._prefix, drawn.number, "png")
        self._patience.insist(lambda: self._tools.store.put(key, data, content_type=PNG_TYPE), what=key)
        stored = time.monotonic()
        spent = {"render": drawn.seconds, "encode": encoded - begun, "upload": stored - encoded}
        image = MadeImage(
            number=drawn.number, key=key, sha256=hashlib.sha256(data).hexdigest(), pixel_sha256=pixel_sha256(picture),
            bytes=len(data), width=picture.width, height=picture.height, recipe_hash=digest(dict(drawn.recipe)),
            flags=flags,
            preview=self._store_strip(drawn), seconds={phase: round(value, 4) for phase, value in spent.items()},
        )  # fmt: skip
        with self._lock:
            self.images.append(image)
            for phase in self.seconds:
                self.seconds[phase] += spent[phase]
        self._tools.level.count_stored()

    def _store_strip(self, drawn: Drawn) -> str | None:
        """Store the previews, once: nobody waits for them, so they are left out when the queue is full."""
        if not drawn.frames or self._tools.uploads.crowded:
            return None
        key = keys.preview_key(self._prefix, drawn.number)
        try:
            self._tools.store.put(key, encode_strip(drawn.frames), content_type=STRIP_TYPE)
        except (TransientError, DiskFull) as error:
            log.warning("previews left out", extra={"key": key, "reason": error})
            return None
        return key
