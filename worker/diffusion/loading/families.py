"""Which pipeline class draws a mode with a family's weights.

diffusers' own tables answer, so a family that they learn works here without a line of ours. What they lack stands
below: depth, which has one class, and unconditional models, which we loop over ourselves.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Final

import diffusers
from diffusers.pipelines.auto_pipeline import (
    AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    AUTO_INPAINT_PIPELINES_MAPPING,
    AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
)

from storage.errors import OptionRefused
from storage.spec.fields import DEPTH, IMAGE_TO_IMAGE, INPAINT, TEXT_TO_IMAGE, UNCONDITIONAL

_TABLES: Final[Mapping[str, Mapping[str, Any]]] = {
    TEXT_TO_IMAGE: AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    IMAGE_TO_IMAGE: AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    INPAINT: AUTO_INPAINT_PIPELINES_MAPPING,
}
_DEPTH_CLASS: Final = "StableDiffusionDepth2ImgPipeline"
UNCONDITIONAL_CLASSES: Final = frozenset({"DDPMPipeline", "DDIMPipeline"})


def pipeline_class(family: str, mode: str, *, controlnet: bool = False) -> Any:
    """The class that draws.

    Args:
        family: Class that the model was saved with.
        mode: Of the job.
        controlnet: Whether a ControlNet has a say.

    Raises:
        OptionRefused: These weights cannot do that.
    """
    if mode == UNCONDITIONAL or family in UNCONDITIONAL_CLASSES:
        if mode == UNCONDITIONAL and family in UNCONDITIONAL_CLASSES:
            return getattr(diffusers, family)
        raise OptionRefused("mode", mode, f"a {family} cannot do that; {_able(family)}")
    if mode == DEPTH or family == _DEPTH_CLASS:
        if mode == DEPTH and family == _DEPTH_CLASS:
            return getattr(diffusers, family)
        raise OptionRefused("mode", mode, f"a {family} cannot do that; {_able(family)}")
    name = family_name(family)
    found = _TABLES[mode].get(f"{name}-controlnet" if controlnet else name) if name else None
    if found is None:
        what = "controlnet" if controlnet and name and name in _TABLES[mode] else "mode"
        raise OptionRefused(what, mode, f"diffusers {diffusers.__version__} has no such pipeline for a {family}")
    return found


def family_name(family: str) -> str | None:
    """What diffusers' tables call a family; None for one they do not know."""
    for table in _TABLES.values():
        for name, kind in table.items():
            if kind.__name__ == family:
                return name.removesuffix("-controlnet")
    return None


def default_guidance(family: str) -> float | None:
    """The guidance scale that a family's text-to-image pipeline takes where nobody says; None if it has none."""
    name = family_name(family)
    kind = AUTO_TEXT2IMAGE_PIPELINES_MAPPING.get(name) if name else getattr(diffusers, family, None)
    said = inspect.signature(kind.__call__).parameters.get("guidance_scale") if kind is not None else None
    return float(said.default) if said is not None and isinstance(said.default, int | float) else None


def _able(family: str) -> str:
    mode = DEPTH if family == _DEPTH_CLASS else UNCONDITIONAL if family in UNCONDITIONAL_CLASSES else None
    return f"it is for mode {mode}" if mode else "take weights that were trained for it"
