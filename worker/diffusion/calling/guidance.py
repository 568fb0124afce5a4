"""How strongly the prompt pulls, from step to step. One owner, so that a cutoff and a schedule can be combined.

diffusers' own callbacks for this keep one row of the embeddings and fail for more than one image a batch; these keep
the conditional half, whatever its length.
"""

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from worker.renderer import Recipe

_JUST_ABOVE_ONE: Final = 1.0 + 1e-9  # still "guided" to a pipeline, and exactly one in its float32 arithmetic
# Of these, every tensor with two halves is in a callback's reach. Elsewhere both halves are computed to the end, and a
# scale of one takes the conditional half: the same picture, without the time saved.
_CUTTABLE: Final = frozenset(
    {"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"}
    | {"StableDiffusionDepth2ImgPipeline", "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"}
    | {"StableDiffusionXLInpaintPipeline", "StableDiffusion3Pipeline", "StableDiffusionControlNetPipeline"}
    | {"StableDiffusionControlNetImg2ImgPipeline", "StableDiffusionXLControlNetPipeline"}
    | {"StableDiffusionXLControlNetImg2ImgPipeline"}
)
_ASKS_EACH_STEP: Final = "ZImage"  # puts the halves together at each step, and calls 0 what others call 1


class Guidance:
    """The scale at each step of one pipeline call, and where it ends."""

    def __init__(self, pipe: Any, recipe: Recipe) -> None:
        """Read what a recipe wants; a recipe that wants nothing costs nothing."""
        self._pieces: list[list[float]] = recipe.get("dynamic_guidance", [])
        self._cutoff: Mapping[str, Any] | None = recipe.get("cfg_cutoff")
        self._adapter_end: float | None = recipe.get("ip_adapter_cutoff")
        self._is_cut = False
        if self._adapter_end == 0:
            pipe.set_ip_adapter_scale(0.0)  # nothing is heard of a call before its first step is done
        # An IP-Adapter's embeddings stay doubled inside the pipeline, too.
        self._halves = type(pipe).__name__ in _CUTTABLE and "ip_adapter" not in recipe
        self.inputs = self._doubled(pipe) if self._cutoff is not None and self._halves else []

    def first_scale(self, given: float | None) -> float | None:
        """The scale that the call begins with."""
        if self._cutoff is not None and _is_past(self._cutoff, step=0, ratio=0.0):
            return 0.0
        if not self._pieces:
            return given
        scale = self._pieces[0][1] if self._pieces[0][0] == 0 or given is None else given
        return max(scale, _JUST_ABOVE_ONE)

    def after(self, pipe: Any, step: int, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Set what the next step uses.

        Args:
            pipe: That is being called.
            step: Index of the step that is done.
            tensors: What the pipeline gave; those of `inputs` may be replaced.

        Returns:
            The tensors that changed.
        """
        following, steps = step + 1, pipe.num_timesteps
        ratio = following / steps
        if self._adapter_end is not None and ratio >= self._adapter_end:
            pipe.set_ip_adapter_scale(0.0)
        if self._is_cut:
            return {}
        if self._cutoff is not None and _is_past(self._cutoff, step=following, ratio=ratio):
            self._is_cut = True
            return self._cut(pipe, tensors)
        for start, scale in self._pieces:
            if ratio >= start:
                pipe._guidance_scale = max(scale, _JUST_ABOVE_ONE)
        return {}

    def _cut(self, pipe: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if not pipe.do_classifier_free_guidance:
            return {}
        if not self._halves:
            pipe._guidance_scale = 0.0 if type(pipe).__name__.startswith(_ASKS_EACH_STEP) else _JUST_ABOVE_ONE
            return {}
        pipe._guidance_scale = 0.0
        return {name: tensors[name].chunk(2)[1] for name in self.inputs if tensors.get(name) is not None}

    def _doubled(self, pipe: Any) -> list[str]:
        """The tensors of a pipeline that hold an unconditional half before the conditional one."""
        names = [name for name in pipe._callback_tensor_inputs if name not in ("latents", "add_neg_time_ids")]
        return [name for name in names if not name.startswith("negative_")]


def _is_past(cutoff: Mapping[str, Any], *, step: int, ratio: float) -> bool:
    return bool(step >= cutoff["step"] if "step" in cutoff else ratio >= cutoff["ratio"])
