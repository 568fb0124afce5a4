"""What a batch says to a pipeline in words, numbers and pictures; and what a pipeline cannot be told.

A key is never dropped: what a pipeline has no argument for is refused by name, before the job's first picture.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from diffusers.utils import is_invisible_watermark_available
from PIL import Image

from storage.errors import OptionRefused, RefusedHere
from storage.spec.fields import DEPTH, INPAINT, TEXT_TO_IMAGE
from worker.diffusion.calling.sampling import misfit, new_scheduler, rehearse, takes
from worker.diffusion.pictures import EmptyMask, Resize, fit, fit_depth, fit_mask
from worker.diffusion.prompts import encode, needs_encoding, refusal
from worker.renderer import Recipe

Images = Callable[[str], Image.Image]  # an input image by its hash
_SAME_NAME: Final = (
    "guidance_rescale", "true_cfg_scale", "eta", "strength", "clip_skip", "max_sequence_length", "timesteps", "sigmas",
    "padding_mask_crop", "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end",
    "guidance_scale", "aesthetic_score", "negative_aesthetic_score",
)  # fmt: skip
_PAIRS: Final = (
    "original_size", "target_size", "crops_coords_top_left", "negative_original_size", "negative_target_size",
    "negative_crops_coords_top_left",
)  # fmt: skip
_TEXTS: Final = (
    "prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3",
)  # fmt: skip
_UNGUIDED: Final = ("dynamic_guidance", "cfg_cutoff")


@dataclass(frozen=True, slots=True)
class Canvas:
    """How input images come to the batch's size."""

    width: int  # pixels
    height: int
    resize: Resize

    @classmethod
    def of(cls, recipe: Recipe) -> "Canvas":
        """That of a recipe."""
        return cls(recipe["width"], recipe["height"], recipe.get("resize", "crop"))

    def picture(self, image: Image.Image) -> Image.Image:
        """RGB."""
        return fit(image, width=self.width, height=self.height, resize=self.resize)


def call_arguments(pipe: Any, recipes: Sequence[Recipe], images: Images) -> dict[str, Any]:
    """Keyword arguments of one pipeline call.

    Args:
        pipe: That will be called.
        recipes: Of one batch key and of one number of prompt windows.
        images: Gives input images.

    Raises:
        OptionRefused: The pipeline has no argument for a key.
        BlobMissing: An input image is gone.
    """
    first = recipes[0]
    said: dict[str, Any] = {name: first[name] for name in _SAME_NAME if name in first}
    said |= {name: tuple(first[name]) for name in _PAIRS if name in first}
    said |= _pictures(pipe, recipes, images)
    if any(needs_encoding(recipe, pipe) for recipe in recipes):
        said.pop("clip_skip", None)
        said |= encode(pipe, recipes)
    else:
        said |= {name: [recipe[name] for recipe in recipes] for name in _TEXTS if name in first}
    known = inspect.signature(type(pipe).__call__).parameters
    for name in said:
        if name not in known:
            raise _refused(_key_of(name), first, pipe)
    frame = {"num_inference_steps": first["steps"], "width": first["width"], "height": first["height"]}
    return said | {name: value for name, value in frame.items() if name in known}


def check(pipe: Any, recipe: Recipe) -> None:
    """Refuse what a pipeline cannot do with a recipe.

    Raises:
        OptionRefused: With the key.
    """
    known = inspect.signature(type(pipe).__call__).parameters
    for name in (*_SAME_NAME, *_PAIRS, *_TEXTS):
        if name in recipe and name not in known:
            raise _refused(name, recipe, pipe)
    _check_guidance(pipe, recipe)
    _check_xl(pipe, recipe)
    _check_channels(pipe, recipe)
    check_scheduler(pipe, recipe)
    problem = refusal(pipe, recipe)
    if problem is not None:
        raise OptionRefused(problem[0], recipe.get(problem[0]), problem[1])


def _check_guidance(pipe: Any, recipe: Recipe) -> None:
    """What would change nothing, because guidance is part of the weights."""
    known = inspect.signature(type(pipe).__call__).parameters
    for name in _UNGUIDED:
        if name in recipe and not hasattr(type(pipe), "do_classifier_free_guidance"):
            raise OptionRefused(name, recipe[name], f"guidance is built into {type(pipe).__name__}'s weights")
    config = getattr(getattr(pipe, "transformer", None), "config", {})
    asked = recipe.get("guidance_scale")
    if config.get("guidance_embeds") is False and asked not in (None, known["guidance_scale"].default):
        raise OptionRefused(
            "guidance_scale", asked, f"these weights of {type(pipe).__name__} do not read it; take it out"
        )
    if "true_cfg_scale" not in known:
        return
    scale, negative = recipe.get("true_cfg_scale", known["true_cfg_scale"].default), "negative_prompt" in recipe
    if negative and (scale or 1.0) <= 1:
        reason = f"does nothing on {type(pipe).__name__} without true_cfg_scale above 1; give both"
        raise OptionRefused("negative_prompt", None, reason)
    if "true_cfg_scale" in recipe and scale > 1 and not negative:
        reason = f"does nothing on {type(pipe).__name__} without negative_prompt; give both"
        raise OptionRefused("true_cfg_scale", scale, reason)


def _check_xl(pipe: Any, recipe: Recipe) -> None:
    """What SDXL's pipelines know and would not use."""
    for name in ("aesthetic_score", "negative_aesthetic_score"):
        if name in recipe and not pipe.config.get("requires_aesthetics_score"):
            raise OptionRefused(name, recipe[name], "these weights read no score; a refiner does")
    if recipe.get("watermark") and not hasattr(pipe, "watermark"):
        raise _refused("watermark", recipe, pipe)
    if recipe.get("watermark") and not is_invisible_watermark_available():
        raise RefusedHere("watermark", True, "needs the package invisible-watermark on this worker; install it there")


def check_sizes(pipe: Any, recipe: Recipe) -> None:
    """Refuse pretended sizes that SDXL's pipelines take and do not read (diffusers 0.42).

    Raises:
        OptionRefused: With the key.
    """
    away = [name for name in _PAIRS if name.startswith("negative_") and name in recipe]
    if recipe["mode"] == TEXT_TO_IMAGE:
        for name in ("negative_original_size", "negative_target_size"):
            if away and name not in recipe:
                raise OptionRefused(away[0], recipe[away[0]], f"does nothing without {name}; give both")
        return
    scored = bool(pipe.config.get("requires_aesthetics_score"))
    for name in ("target_size", "negative_target_size") if scored else ("negative_crops_coords_top_left",):
        if name in recipe:
            raise OptionRefused(name, recipe[name], f"{type(pipe).__name__} does not read it with these weights")


def check_base(pipe: Any, recipe: Recipe) -> None:
    """Refuse a base that a refiner cannot go on from.

    Raises:
        OptionRefused: With the key.
    """
    name = type(pipe).__name__
    if "XL" not in name:
        raise OptionRefused("refiner", None, f"goes on from SDXL's latents, not from those of {name}; take it out")
    if "refiner_start" in recipe and "denoising_end" not in inspect.signature(type(pipe).__call__).parameters:
        reason = f"{name} cannot stop half-way; give refiner_strength instead"
        raise OptionRefused("refiner_start", recipe["refiner_start"], reason)
    if "padding_mask_crop" in recipe:
        reason = "ends in a pasted picture, which no refiner goes on from; take one of them out"
        raise OptionRefused("padding_mask_crop", recipe["padding_mask_crop"], reason)


def check_scheduler(pipe: Any, recipe: Recipe) -> None:
    """Refuse a scheduler that cannot be built, or cannot sample from these weights. Raises OptionRefused."""
    scheduler = new_scheduler(pipe.scheduler, recipe.get("scheduler"), [0])
    name = type(scheduler).__name__
    problem = misfit(pipe.scheduler, scheduler)
    if problem is not None:
        raise OptionRefused("scheduler", name, problem)
    own = [key for key in ("timesteps", "sigmas") if key in recipe]
    for key in own:
        if not takes(scheduler, key, method="set_timesteps") or scheduler.config.get("use_flow_sigmas"):
            raise OptionRefused(key, recipe[key], f"{name} takes no schedule of one's own")
    if "eta" in recipe and not takes(scheduler, "eta", method="step"):
        raise OptionRefused("eta", recipe["eta"], f"does nothing with {name}")
    rehearse(scheduler, {key: recipe[key] for key in own} or {"num_inference_steps": recipe["steps"]})


def _check_channels(pipe: Any, recipe: Recipe) -> None:
    """Whether the denoiser's input has room for what the mode shows it, and for no more."""
    unet, vae = getattr(pipe, "unet", None), getattr(pipe, "vae", None)
    if unet is None or vae is None:
        return
    spare = unet.config.in_channels - vae.config.latent_channels
    fits = {INPAINT: (0, vae.config.latent_channels + 1), DEPTH: (1,)}.get(recipe["mode"], (0,))
    if spare not in fits:
        trained = "depth-to-image" if spare == 1 else "inpaint"
        raise OptionRefused("mode", recipe["mode"], f"these weights were trained for {trained}")


def _pictures(pipe: Any, recipes: Sequence[Recipe], images: Images) -> dict[str, Any]:
    first, canvas = recipes[0], Canvas.of(recipes[0])
    said: dict[str, Any] = {}
    if "init_image" in first:
        said["image"] = [canvas.picture(images(recipe["init_image"])) for recipe in recipes]
    if "mask" in first:
        said["mask_image"] = [_mask(recipe, canvas, images) for recipe in recipes]
    if "depth_map" in first:
        import torch

        maps = [
            fit_depth(images(recipe["depth_map"]), width=canvas.width, height=canvas.height, resize=canvas.resize)
            for recipe in recipes
        ]
        said["depth_map"] = torch.cat(maps)
    if "control_image" in first:
        name = "control_image" if "control_image" in inspect.signature(type(pipe).__call__).parameters else "image"
        said[name] = [canvas.picture(images(recipe["control_image"])) for recipe in recipes]
    if "ip_adapter_image" in first:
        # One picture for the batch: a list would be several pictures for one adapter.
        said["ip_adapter_image"] = [[images(recipe["ip_adapter_image"]).convert("RGB") for recipe in recipes]]
    if "padding_mask_crop" in first:
        said = {name: value[0] if isinstance(value, list) else value for name, value in said.items()}
    return said


def _mask(recipe: Recipe, canvas: Canvas, images: Images) -> Image.Image:
    mask = fit_mask(
        images(recipe["mask"]), width=canvas.width, height=canvas.height, resize=canvas.resize,
        invert=recipe.get("mask_invert", False), blur=recipe.get("mask_blur", 0),
    )  # fmt: skip
    if "padding_mask_crop" in recipe and mask.getbbox() is None:
        raise EmptyMask("the mask has no white: there is nothing to crop to; check mask_invert")
    return mask


def _key_of(argument: str) -> str:
    """The job file's word for a pipeline's argument."""
    return {"image": "init_image", "mask_image": "mask", "prompt_embeds": "prompt"}.get(argument, argument)


def _refused(name: str, recipe: Mapping[str, Any], pipe: Any) -> OptionRefused:
    return OptionRefused(name, recipe.get(name), f"{type(pipe).__name__} has no such option; take it out")
