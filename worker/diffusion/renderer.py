"""Recipes into pictures with diffusers, on one device."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any

import diffusers
import torch
import transformers

from storage.blobs import BlobStore
from storage.errors import ModelMissing
from storage.models.digests import Hashes
from storage.models.layout import inspect
from storage.models.local import LocalModels
from storage.settings import Settings
from storage.spec.fields import TEXT_TO_IMAGE, UNCONDITIONAL
from storage.spec.plan import Plan
from storage.spec.recipe import CALLBACK, CHECKPOINT, SAFETY_CHECKER
from storage.wire.messages import ModelEntry
from worker.diffusion.calling.arguments import check, check_base, check_scheduler, check_sizes
from worker.diffusion.calling.callbacks import make_callbacks
from worker.diffusion.calling.decoding import NON_FINITE, to_picture
from worker.diffusion.calling.drawing import Desk, Drawn, draw, for_base, for_refiner
from worker.diffusion.calling.steps import Preview, Steps
from worker.diffusion.loading.adapters import Found
from worker.diffusion.loading.families import default_guidance
from worker.diffusion.loading.studio import Easel, Studio
from worker.diffusion.memory import free_memory, in_float32, small_vae, under
from worker.diffusion.preview import decoded_frames
from worker.diffusion.prompts import excess, windows
from worker.named_code import code_entry
from worker.renderer import Device, Flaw, Images, Picture, Recipe, Watch


class DiffusionRenderer:
    """See `worker.renderer.Renderer`."""

    name = "diffusers"

    def __init__(self, settings: Settings, store: BlobStore | None = None) -> None:
        """Take the device: the one card that this process sees, else the CPU. Frozen models come from `store`."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.device = _device(device)
        self._hashes = Hashes(settings.home / "model-hashes.json")
        self._models = LocalModels(settings.home, store, hashes=self._hashes)
        self._studio = Studio(self._hashes, device, limit=settings.resident_pipelines)
        self._callbacks = settings.callback_names
        self._easel: Easel | None = None
        diffusers.utils.logging.disable_progress_bar()
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        diffusers.utils.logging.set_verbosity_error()
        transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]

    def environment(self) -> dict[str, Any]:
        """See `Renderer.environment`."""
        return {
            **self.libraries(),
            "python": platform.python_version(),
            "device": self.device.name,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "cuda": torch.version.cuda,
            "platform": platform.platform(),
        }

    def libraries(self) -> dict[str, str]:
        """See `Renderer.libraries`."""
        return {
            "diffusers": diffusers.__version__,
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        }

    def resident(self) -> list[str]:
        """See `Renderer.resident`."""
        return self._studio.digests()

    def resolve(self, source: str, *, kind: str) -> ModelEntry:
        """See `Renderer.resolve`."""
        if kind == CALLBACK:
            return code_entry(CALLBACK, source, allowed=self._callbacks)
        path = self._models.find(source, kind=CHECKPOINT if kind == SAFETY_CHECKER else kind)
        if kind == SAFETY_CHECKER:
            path = path / SAFETY_CHECKER
            if not path.is_dir():
                raise ModelMissing(source, "it came without a safety checker; set safety_checker: off")
        layout = inspect(path, kind, source=source)
        digest = self._hashes.digest_of(layout.files)
        self._studio.found[digest] = Found(source, layout)
        guidance = default_guidance(layout.family) if kind == CHECKPOINT else None
        return ModelEntry(
            kind=kind, digest=digest, family=layout.family, width=layout.width, height=layout.height,
            guidance_scale=guidance,
        )  # fmt: skip

    def check(self, recipe: Recipe, *, plan: Plan) -> None:
        """See `Renderer.check`."""
        self.load(recipe, plan=plan)
        assert self._easel is not None
        make_callbacks(recipe, allowed=self._callbacks)
        if recipe["mode"] == UNCONDITIONAL:
            check_scheduler(self._easel.base, recipe)
            return
        check(self._easel.base, for_base(recipe))
        check_sizes(self._easel.base, recipe)
        if self._easel.refiner is not None:
            check_base(self._easel.base, recipe)
            check(self._easel.refiner, for_refiner(recipe))

    def too_long(self, recipe: Recipe) -> str | None:
        """See `Renderer.too_long`."""
        if self._easel is None or recipe["mode"] == UNCONDITIONAL:
            return None
        over = excess(self._easel.base, recipe)
        return None if over is None else _too_long(over)

    def load(self, recipe: Recipe, *, plan: Plan) -> None:
        """See `Renderer.load`."""
        self._easel = None  # the last reference to what may have to leave
        with under(plan):
            self._easel = self._studio.set_up(recipe, plan)

    @torch.inference_mode()
    def render(self, recipes: Sequence[Recipe], *, plan: Plan, watch: Watch, images: Images) -> list[Picture | Flaw]:
        """See `Renderer.render`."""
        if self._easel is None:
            raise RuntimeError("render before load")
        easel = self._easel
        self._studio.put_on(easel, recipes[0])
        desk = Desk(
            base=easel.base, refiner=easel.refiner, images=images,
            callbacks=lambda: make_callbacks(recipes[0], allowed=self._callbacks),
        )  # fmt: skip
        results: list[Picture | Flaw] = [NON_FINITE] * len(recipes)
        with ExitStack() as stack:
            stack.enter_context(under(plan))
            for vae in {id(pipe.vae): pipe.vae for pipe in easel.pipes if hasattr(pipe, "vae")}.values():
                stack.enter_context(small_vae(vae, plan))
            for slots in _calls(easel.base, recipes):
                steps = Steps(watch, show=self._show(easel, recipes[0], plan, watch), slots=slots)
                part = [recipes[slot] for slot in slots]
                drawn = self._drawn(desk, part, steps, plan=plan, size=len(recipes))
                steps.finish()
                for place, slot in enumerate(slots):
                    results[slot] = _result(easel.base, recipes[slot], drawn, place)
        return results

    def recover(self) -> bool:
        """See `Renderer.recover`."""
        if self._easel is not None:
            for pipe in (self._easel.resident.pipe, *self._easel.pipes):
                pipe.maybe_free_model_hooks()  # a call that broke off left an offloaded part on the card
        return self._studio.make_room(self._easel)

    def memory(self) -> str:
        """See `Renderer.memory`."""
        return f"{self.device.name}, {free_memory(self.device)}"

    def _show(self, easel: Easel, recipe: Recipe, plan: Plan, watch: Watch) -> Preview:
        """How previews are drawn: by the tiny VAE that the job names, else by a linear map."""
        if watch.previewer is None:
            vae = getattr(easel.base, "vae", None)
            if watch.preview_every and vae is not None:
                easel.resident.latent_map(vae)  # fitted now: during a call, what the VAE decodes is taken for pictures
            return easel.preview(recipe)
        tiny = self._studio.component(watch.previewer, plan, beside=easel.base)
        return lambda latents: decoded_frames(tiny, easel.base, latents, size=(recipe["height"], recipe["width"]))

    def _drawn(self, desk: Desk, part: Sequence[Recipe], steps: Steps, *, plan: Plan, size: int) -> Drawn:
        """Some images of a batch in a call of the batch's shape; once more in float32 where values overflow."""
        whole = part if _is_alone(part[0]) else [*part, *[part[-1]] * (size - len(part))]
        drawn = draw(desk, whole, steps)
        if all(drawn.finite) or plan.dtype == "float32" or plan.offload != "none":
            return drawn
        steps.start_over()
        with in_float32([pipe for pipe in (desk.base, desk.refiner) if pipe is not None]):
            return drawn.mended_by(draw(desk, whole, steps))


def _calls(pipe: Any, recipes: Sequence[Recipe]) -> Iterator[list[int]]:
    """Which images go through one call together: by places in the batch.

    Usually all. Prompts of another number of windows make embeddings of another length, and would be padded by their
    company.
    """
    if _is_alone(recipes[0]):
        yield from ([slot] for slot in range(len(recipes)))
        return
    if recipes[0].get("long_prompts") != "chunk":
        yield list(range(len(recipes)))
        return
    counts = [windows(recipe, pipe) for recipe in recipes]
    for _, group in groupby(sorted(range(len(recipes)), key=counts.__getitem__), key=counts.__getitem__):
        yield list(group)


def _is_alone(recipe: Recipe) -> bool:
    """Whether each image needs a call of its own.

    A picture whose crop is repainted has its own crop. And diffusers 0.42 gives the sizes to be steered away from to
    every other row of a batch of text-to-image, whichever half that row is of (`add_time_ids.repeat`).
    """
    if recipe["mode"] == TEXT_TO_IMAGE:
        return "negative_original_size" in recipe
    return "padding_mask_crop" in recipe


def _result(pipe: Any, recipe: Recipe, drawn: Drawn, place: int) -> Picture | Flaw:
    over = excess(pipe, recipe) if recipe["mode"] != UNCONDITIONAL else None
    if over is not None and recipe.get("long_prompts", "refuse") == "refuse":
        return Flaw("long_prompt", f"{_too_long(over)}; shorten it, or set long_prompts: truncate or chunk")
    if not drawn.finite[place]:
        return NON_FINITE
    flags = {"truncated": over is not None, "nsfw": drawn.nsfw[place]}
    return Picture(to_picture(drawn.samples[place]), frozenset(flag for flag, raised in flags.items() if raised))


def _too_long(over: tuple[int, int]) -> str:
    tokens, limit = over
    return f"has {tokens} tokens, and the model reads {limit}"


def _device(device: torch.device) -> Device:
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return Device(type="cuda", name=facts.name, memory_bytes=facts.total_memory)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 0
    return Device(type="cpu", name=f"cpu ({platform.machine()})", memory_bytes=memory)
