"""What a running batch tells of its steps, and how it hears that it should stop."""

from math import ceil
from typing import TYPE_CHECKING, Final

from worker.child.level import Level
from worker.renderer import StopRendering

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_FRAMES: Final = 24  # of one strip: more cannot be told apart, and would fill the memory


class BatchWatch:
    """The watch of one batch."""

    def __init__(
        self, level: Level, *, job: str, steps: int, slots: int, every: int | None, previewer: str | None = None
    ) -> None:
        """Watch a batch of `slots` images that were asked for; previews of padding are thrown away."""
        self.previewer = previewer
        self._level = level
        self._job = job
        self._every = None if every is None else max(every, ceil(steps / MOST_FRAMES))
        self.frames: list[list[Image]] = [[] for _ in range(slots)]

    @property
    def preview_every(self) -> int | None:
        """See `Watch.preview_every`."""
        return self._every

    def step(self, step: int, steps: int) -> None:
        """See `Watch.step`."""
        self._level.step(step, steps)
        if self._level.must_stop(self._job):
            raise StopRendering

    def preview(self, slot: int, picture: "Image") -> None:
        """See `Watch.preview`."""
        if slot < len(self.frames):
            self.frames[slot].append(picture)
