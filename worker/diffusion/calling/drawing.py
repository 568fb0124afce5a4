"""One pipeline call, or two where a refiner goes on: a batch of recipes into samples."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers.pipelines.stable_diffusion_xl.watermark import StableDiffusionXLWatermarker

from storage.spec.fields import INPAINT, UNCONDITIONAL
from worker.diffusion.calling.arguments import Images, call_arguments
from worker.diffusion.calling.callbacks import Callback
from worker.diffusion.calling.decoding import Sample, guarded
from worker.diffusion.calling.guidance import Guidance
from worker.diffusion.calling.sampling import generators, new_scheduler, seat
from worker.diffusion.calling.steps import Steps
from worker.diffusion.calling.unconditional import sample
from worker.diffusion.loading.adapters import without_loras
from worker.renderer import Recipe

_BASE_ONLY: Final = (
    "loras", "embeddings", "ip_adapter", "ip_adapter_image", "ip_adapter_scale", "ip_adapter_cutoff", "controlnet",
    "control_image", "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end", "init_image",
    "strength", "cfg_cutoff", "dynamic_guidance", "prompt_2", "negative_prompt_2", "timesteps", "sigmas", "clip_skip",
    "padding_mask_crop", "eta", "refiner",
)  # fmt: skip
_FOR_BASE: Final = ("aesthetic_score", "negative_aesthetic_score")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came of a batch, image by image."""

    samples: Sequence[Sample]
    finite: list[bool]
    nsfw: list[bool]

    def mended_by(self, other: "Drawn") -> "Drawn":
        """The same batch, with `other`'s word on what is not finite here. The rest keeps every bit."""
        pick = [self if good else other for good in self.finite]
        return Drawn(
            [each.samples[place] for place, each in enumerate(pick)],
            [each.finite[place] for place, each in enumerate(pick)],
            [each.nsfw[place] for place, each in enumerate(pick)],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What a batch is drawn with. The pipelines are shells that others use too; a call works on copies of them."""

    base: Any
    refiner: Any | None
    callbacks: Callable[[], list[Callback]]
    images: Images


def draw(desk: Desk, recipes: Sequence[Recipe], steps: Steps) -> Drawn:
    """Draw a batch that shares a batch key and the number of prompt windows.

    Raises:
        StopRendering: From the watch behind `steps`.
        OptionRefused: A key that the pipeline does not know.
    """
    draws = generators([recipe["seed"] for recipe in recipes])
    first = recipes[0]
    if first["mode"] == UNCONDITIONAL:
        return _unconditional(desk, recipes, steps, draws)
    if desk.refiner is None:
        pipe = _fresh(desk.base, first, recipes, draws)
        said, guidance = _said(desk, pipe, recipes)
        return _decoded(pipe, said, draws, steps.hook(guidance, desk.callbacks()))
    return _refined(desk, recipes, steps, draws)


def for_refiner(recipe: Recipe) -> Recipe:
    """What a recipe says to the refiner, in the words of a recipe of its own."""
    own = {key: value for key, value in recipe.items() if key not in _BASE_ONLY and not key.startswith("refiner_")}
    for key, name in (
        ("prompt", "refiner_prompt"), ("negative_prompt", "refiner_negative_prompt"), ("steps", "refiner_steps"),
        ("guidance_scale", "refiner_guidance_scale"), ("scheduler", "refiner_scheduler"),
        ("strength", "refiner_strength"),
    ):  # fmt: skip
        if name in recipe:
            own[key] = recipe[name]
    own["mode"] = INPAINT if recipe["mode"] == INPAINT else "image-to-image"
    return own


def for_base(recipe: Recipe) -> Recipe:
    """What a recipe says to the base where a refiner follows."""
    if "refiner" not in recipe:
        return recipe
    return {key: value for key, value in recipe.items() if key not in _FOR_BASE}


def _refined(desk: Desk, recipes: Sequence[Recipe], steps: Steps, draws: list[torch.Generator]) -> Drawn:
    first = recipes[0]
    split = {} if "refiner_start" not in first else {"denoising_end": first["refiner_start"]}
    pipe = _fresh(desk.base, first, recipes, draws)
    said, guidance = _said(desk, pipe, [for_base(recipe) for recipe in recipes])
    hook = steps.hook(guidance, desk.callbacks())
    latents = pipe(**said, **split, generator=draws, output_type="latent", **hook).images
    theirs = [for_refiner(recipe) for recipe in recipes]
    pipe = _fresh(desk.refiner, theirs[0], theirs, draws)
    with without_loras(pipe):
        said, guidance = _said(desk, pipe, theirs)
        said["image"] = latents
        if "refiner_start" in first:
            said["denoising_start"] = first["refiner_start"]
        return _decoded(pipe, said, draws, steps.hook(guidance, desk.callbacks()))


def _decoded(pipe: Any, said: dict[str, Any], draws: list[torch.Generator], hook: dict[str, Any]) -> Drawn:
    """The call that ends in pixels."""
    pasted = "padding_mask_crop" in said  # pasted back into the first image, as a finished picture
    with guarded(pipe.vae) as finite:
        made = pipe(**said, generator=draws, output_type="pil" if pasted else "pt", **hook)
    nsfw = getattr(made, "nsfw_content_detected", None) or [False] * len(draws)
    return Drawn(made.images, _judged(finite, len(draws)), [bool(found) for found in nsfw])


def _unconditional(desk: Desk, recipes: Sequence[Recipe], steps: Steps, draws: list[torch.Generator]) -> Drawn:
    first = recipes[0]
    pipe = copy.copy(desk.base)
    scheduler = new_scheduler(desk.base.scheduler, first.get("scheduler"), [recipe["seed"] for recipe in recipes])
    hook = steps.hook(None, desk.callbacks())
    samples = sample(
        pipe, scheduler, draws, steps=first["steps"], size=(first["height"], first["width"]), eta=first.get("eta"),
        on_step=hook["callback_on_step_end"],
    )  # fmt: skip
    finite = torch.isfinite(samples).flatten(1).all(dim=1)
    return Drawn(list(samples), [bool(good) for good in finite.tolist()], [False] * len(draws))


def _fresh(shell: Any, first: Recipe, recipes: Sequence[Recipe], draws: list[torch.Generator]) -> Any:
    """A shallow copy for one call: the parts are shared, the scheduler is the batch's own."""
    pipe = copy.copy(shell)
    scheduler = new_scheduler(shell.scheduler, first.get("scheduler"), [recipe["seed"] for recipe in recipes])
    seat(pipe, scheduler, draws)
    if hasattr(pipe, "watermark"):
        pipe.watermark = StableDiffusionXLWatermarker() if first.get("watermark") else None
    return pipe


def _said(desk: Desk, pipe: Any, recipes: Sequence[Recipe]) -> tuple[dict[str, Any], Guidance]:
    guidance = Guidance(pipe, recipes[0])
    said = call_arguments(pipe, recipes, desk.images)
    scale = guidance.first_scale(said.get("guidance_scale"))
    return said | ({} if scale is None else {"guidance_scale": scale}), guidance


def _judged(finite: list[bool], count: int) -> list[bool]:
    """One verdict an image; where the VAE was used in another rhythm, all share one."""
    return finite if len(finite) == count else [all(finite)] * count
