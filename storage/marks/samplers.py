"""What other tools call our schedulers.

A1111's names since 1.9: sampler and schedule apart. A name stands only where the algorithm is the same; everything
else goes by its diffusers class, which no tool will take for one of its own.
"""

from collections.abc import Mapping
from typing import Any, Final

DEFAULT: Final = "Model default"  # the recipe names no scheduler
_DPM_2M: Final = "DPMSolverMultistepScheduler"
_NAMES: Final[Mapping[str, str]] = {
    "DDIMScheduler": "DDIM",
    "PNDMScheduler": "PLMS",
    "LMSDiscreteScheduler": "LMS",
    "EulerDiscreteScheduler": "Euler",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "HeunDiscreteScheduler": "Heun",
    "KDPM2DiscreteScheduler": "DPM2",
    "KDPM2AncestralDiscreteScheduler": "DPM2 a",
    "DPMSolverSDEScheduler": "DPM++ SDE",
    "LCMScheduler": "LCM",
    "FlowMatchEulerDiscreteScheduler": "Euler",
}
_UNSCHEDULED: Final = frozenset({"DDIM", "PLMS", "LCM"})  # those step through timesteps, not noise levels
_SCHEDULES: Final = (
    ("use_karras_sigmas", "Karras"),
    ("use_exponential_sigmas", "Exponential"),
    ("use_beta_sigmas", "Beta"),
)
_OF_2M: Final[Mapping[tuple[str, str], str]] = {  # by algorithm and solver
    ("dpmsolver++", "midpoint"): "DPM++ 2M",
    ("sde-dpmsolver++", "midpoint"): "DPM++ 2M SDE",
    ("sde-dpmsolver++", "heun"): "DPM++ 2M SDE Heun",
}


def sampler_name(scheduler: Mapping[str, Any] | None) -> str:
    """The name of a recipe's scheduler: A1111's, or the diffusers class."""
    if scheduler is None:
        return DEFAULT
    name, options = str(scheduler["class"]), scheduler.get("options", {})
    if name == "PNDMScheduler" and not options.get("skip_prk_steps", True):
        return name
    if name != _DPM_2M:
        return _NAMES.get(name, name)
    kind = options.get("algorithm_type", "dpmsolver++"), options.get("solver_type", "midpoint")
    is_second_order = options.get("solver_order", 2) == 2 and not options.get("use_flow_sigmas", False)
    return _OF_2M.get(kind, name) if is_second_order else name


def schedule_type(scheduler: Mapping[str, Any] | None) -> str | None:
    """How the noise levels are spaced, in A1111's words; None where it has no word for it."""
    options = {} if scheduler is None else scheduler.get("options", {})
    named = next((word for option, word in _SCHEDULES if options.get(option)), None)
    name = sampler_name(scheduler)
    if named is not None or name == DEFAULT or name in _UNSCHEDULED:
        return named
    return "Uniform" if scheduler is not None and name != scheduler["class"] else None
