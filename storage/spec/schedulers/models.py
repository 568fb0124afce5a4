"""How a model was trained, told from the class of its pipeline or of its scheduler."""

from collections.abc import Mapping
from typing import Final

from storage.spec.schedulers.kind import Sampling

# Pipelines of rectified flow, by the beginning of their class; every other one that we draw with predicts noise.
_FLOW_PIPELINES: Final = (
    "AuraFlow", "Bria", "Chroma", "CogView4", "DreamLite", "Ernie", "Flux", "GlmImage", "HiDream", "HunyuanImage",
    "Ideogram", "JoyImage", "Kandinsky5", "Kandinsky6", "Krea", "LongCat", "Lumina2", "LuminaPipeline", "NucleusMoE",
    "OmniGen", "Ovis", "Prx", "PRX", "Qwen", "Sana", "StableDiffusion3", "VisualCloze", "ZImage",
)  # fmt: skip
_UNKNOWN: Final = frozenset({"FakePipeline"})


def sampling_of(family: str) -> Sampling | None:
    """How a pipeline class samples; None for one that draws test pictures, and takes any scheduler."""
    if family in _UNKNOWN:
        return None
    return "flow" if family.startswith(_FLOW_PIPELINES) else "diffusion"


def is_flow_class(name: str, options: Mapping[str, object]) -> bool:
    """Whether a scheduler, by its class and its options or config, samples from models of rectified flow."""
    return "FlowMatch" in name or bool(options.get("use_flow_sigmas"))
