"""What happens between two steps of a pipeline call: guidance, the user's callbacks, a preview, an ear for the stop."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from torch import Tensor

from worker.diffusion.calling.callbacks import Callback, wanted_tensors
from worker.diffusion.calling.guidance import Guidance
from worker.diffusion.preview import pictures
from worker.renderer import Watch

Preview = Callable[[Tensor], Tensor]  # latents into bytes on the device, (n, height, width, 3)
LATENTS: Final = "latents"


class Steps:
    """The steps of one batch, over one or two pipeline calls."""

    def __init__(self, watch: Watch, *, show: Preview, slots: Sequence[int]) -> None:
        """Tell `watch`; `slots` are the places in the whole batch of the images that these calls draw."""
        self._watch = watch
        self._show = show
        self._slots = slots
        self._before = 0  # steps of the calls that are done
        self._done = 0
        self._frames: list[Tensor] = []

    def hook(self, guidance: Guidance | None, callbacks: Sequence[Callback]) -> dict[str, Any]:
        """The arguments of a pipeline call that make it come here after every step."""
        self._before += self._done
        self._done = 0

        def on_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            changed = guidance.after(pipe, step, tensors) if guidance is not None else {}
            for callback in callbacks:
                changed |= callback(pipe, step, timestep, {**tensors, **changed}) or {}
            self._tell(step + 1, pipe.num_timesteps, changed.get(LATENTS, tensors[LATENTS]))
            return changed

        extra = [*(guidance.inputs if guidance is not None else []), *wanted_tensors(callbacks)]
        return {
            "callback_on_step_end": on_step,
            "callback_on_step_end_tensor_inputs": list(dict.fromkeys([LATENTS, *extra])),
        }

    def start_over(self) -> None:
        """Forget what was drawn so far."""
        self._before = self._done = 0
        self._frames.clear()

    def finish(self) -> None:
        """Hand the previews over. Not before the call has ended: bringing them off the device would wait for it."""
        for frames in self._frames:
            for slot, picture in zip(self._slots, pictures(frames), strict=False):
                self._watch.preview(slot, picture)
        self._frames.clear()

    def _tell(self, done: int, steps: int, latents: Tensor) -> None:
        self._done = done
        every, so_far = self._watch.preview_every, self._before + done
        if every and so_far % every == 0:
            self._frames.append(self._show(latents))
        self._watch.step(so_far, self._before + steps)
