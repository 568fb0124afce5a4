"""Which pipeline class draws a mode with a family's weights.

diffusers' own tables answer, so a family that they learn works here without a line of ours. What they lack stands
below: depth, which has one class, and unconditional models, which we loop over ourselves.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import diffusers
from diffusers.pipelines.auto_pipeline import (
    AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    AUTO_INPAINT_PIPELINES_MAPPING,
    AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
)

from storage.errors import OptionRefused, RefusedHere
from storage.spec.fields import DEPTH, IMAGE_TO_IMAGE, INPAINT, TEXT_TO_IMAGE, UNCONDITIONAL

_TABLES: Final[Mapping[str, Mapping[str, Any]]] = {
    TEXT_TO_IMAGE: AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    IMAGE_TO_IMAGE: AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    INPAINT: AUTO_INPAINT_PIPELINES_MAPPING,
}
_DEPTH_CLASS: Final = "StableDiffusionDepth2ImgPipeline"
_CONTROL_SIZES: Final = ("block_out_channels", "cross_attention_dim", "addition_embed_type")
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
        raise RefusedHere(what, mode, f"diffusers {diffusers.__version__} has no such pipeline for a {family}")
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


def misfit(name: str, part: Any, pipe: Any, *, kind: Any) -> str | None:
    """Why a part does not belong into a pipeline; None if it does.

    Args:
        name: "vae", "controlnet" or "safety_checker".
        part: Loaded.
        pipe: Of the checkpoint.
        kind: Class of the pipeline that would draw.
    """
    if name == "controlnet":
        takes = re.findall(r"\w+", str(inspect.signature(kind.__init__).parameters[name].annotation))
        unet = getattr(pipe, "unet", None)
        if type(part).__name__ not in takes or (unet is not None and _apart(part, unet, _CONTROL_SIZES)):
            return f"this {type(part).__name__} does not fit the model; take one that was trained beside such a model"
    elif name == "vae" and _apart(part, pipe.vae, ("latent_channels", "z_dim")):
        return f"the latents of this {type(part).__name__} are not the model's; take a VAE of the same family"
    return None


def _apart(one: Any, other: Any, sizes: Sequence[str]) -> bool:
    """Whether two configurations differ in one of some sizes."""
    pairs = [(one.config.get(size), other.config.get(size)) for size in sizes]
    return any((list(a) if isinstance(a, tuple) else a) != (list(b) if isinstance(b, tuple) else b) for a, b in pairs)


def _able(family: str) -> str:
    mode = DEPTH if family == _DEPTH_CLASS else UNCONDITIONAL if family in UNCONDITIONAL_CLASSES else None
    return f"it is for mode {mode}" if mode else "take weights that were trained for it"
