"""What becomes of drawn pictures: looked at, encoded, stored, counted. On the upload threads.

A picture counts as made only when it lies in the store, or in the spool of this worker. One that lies nowhere when the
run is told to stop is neither made nor failed: as far as the farm knows, it was not tried.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_hexdigest

from storage.marks import pixel_sha256
from storage.spec import digest
from storage.spec.number import show_number
from storage.spec.plan import Plan
from storage.wire import keys
from storage.wire.messages import FailedImage, MadeImage
from worker.faults import ERROR
from worker.renderer import Flaw, Picture, Recipe, StopRendering
from worker.runs.patience import Patience
from worker.runs.storing.encoding import Encoder
from worker.runs.storing.picture import (
    BLANK,
    LOW_VARIANCE,
    STRIP_TYPE,
    encode_strip,
    judge,
)
from worker.runs.storing.spool import Delivery
from worker.runs.tools import Tools
from worker.scoring import Scorer, ScoringFailed, measure

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

_EMPTY: Final = Flaw(BLANK, "every pixel has the same colour; allow_blank: true keeps such")


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

    def __init__(self, tools: Tools, *, delivery: Delivery, patience: Patience) -> None:
        self.keep_blank = False  # as the job allows it, or has a rule that rejects it; known once its spec was read
        self.encoder = Encoder()  # likewise
        self.scorers: Mapping[str, Scorer] = {}  # likewise, once they are loaded
        self._tools = tools
        self._delivery = delivery
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
        begun = time.monotonic()
        try:
            look = judge(made.image)
            if look == BLANK and not self.keep_blank and "nsfw" not in made.flags:
                self.fail([drawn.number], _EMPTY)
                return
            libraries = self._tools.renderer.libraries()
            made_file = self.encoder.encode(made.image, drawn.recipe, plan=plan, libraries=libraries)
            measured = measure(made_file.picture, drawn.recipe, scorers=self.scorers)
            strip = self._strip(drawn)
        except Exception as error:  # left untried, it would come back for ever
            log.exception("picture cannot be encoded", extra={"image": show_number(drawn.number)})
            self.fail([drawn.number], Flaw(ERROR, _told(error)))
            return
        encoded = time.monotonic()
        data, kind = made_file.data, self.encoder.content_type
        key = self._delivery.put(keys.image_key("", drawn.number, self.encoder.suffix), data, content_type=kind)
        spent = {"render": drawn.seconds, "encode": encoded - begun, "upload": time.monotonic() - encoded}
        if self.scorers:
            spent |= {"encode": spent["encode"] - measured.score_s, "score": measured.score_s}
        image = MadeImage(
            number=drawn.number, key=key, sha256=hashlib.sha256(data).hexdigest(),
            pixel_sha256=pixel_sha256(made_file.picture), bytes=len(data), xxh3_64=xxh3_64_hexdigest(data),
            width=made.image.width, height=made.image.height,
            recipe_hash=digest(dict(drawn.recipe)),
            flags=sorted(made.flags | ({LOW_VARIANCE} if look is not None else set())),
            phash=measured.phash, scores=measured.scores, preview=self._store_strip(drawn.number, strip),
            seconds={phase: round(value, 4) for phase, value in spent.items()},
        )  # fmt: skip
        with self._lock:
            self.images.append(image)
            for phase in spent.keys() - {"render"}:
                self.seconds[phase] = self.seconds.get(phase, 0.0) + spent[phase]
        self._tools.level.count_stored()

    def _strip(self, drawn: Drawn) -> bytes | None:
        """The previews in one file: nobody waits for them, so they are left out when the queue is full."""
        return encode_strip(drawn.frames) if drawn.frames and not self._tools.uploads.crowded else None

    def _store_strip(self, number: int, strip: bytes | None) -> str | None:
        if strip is None:
            return None
        return self._delivery.put_if_easy(keys.preview_key("", number), strip, content_type=STRIP_TYPE)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, ScoringFailed) else f"{type(error).__name__}: {error}"
