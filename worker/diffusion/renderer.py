"""Recipes into pictures with diffusers, on one device."""

import copy
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from PIL import Image
from torch import Tensor

from storage.settings import Settings
from storage.spec.plan import Plan
from storage.wire.messages import ModelEntry
from worker.diffusion.folders import family, find_folder, model_files, native_size
from worker.diffusion.resident import Pipelines, Resident
from worker.diffusion.sampling import call_arguments, generators, new_scheduler, starting_noise
from worker.models import Hashes
from worker.renderer import Device, Flaw, Recipe, Watch


class DiffusionRenderer:
    """See `worker.renderer.Renderer`."""

    name = "diffusers"

    def __init__(self, settings: Settings) -> None:
        """Take the device: the one card that this process sees, else the CPU."""
        self._torch_device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.device = _device(self._torch_device)
        self._pipelines = Pipelines(settings.resident_pipelines, self._torch_device)
        self._hashes = Hashes(settings.home / "model-hashes.json")
        self._folders: dict[str, Path] = {}
        self._current: Resident | None = None
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
        return self._pipelines.digests()

    def resolve(self, source: str) -> ModelEntry:
        """See `Renderer.resolve`."""
        folder = self._folders[source] = find_folder(source)
        kind = family(folder, source)
        width, height = native_size(folder, source)
        digest = self._hashes.digest_of(folder, model_files(folder, source))
        return ModelEntry(digest=digest, family=kind, width=width, height=height)

    def load(self, source: str, *, digest: str, plan: Plan) -> None:
        """See `Renderer.load`."""
        _apply(plan)
        self._current = None  # the last reference to what may have to leave
        folder = self._folders.get(source) or find_folder(source)
        self._current = self._pipelines.get(folder, source=source, digest=digest, dtype=plan.dtype)

    @torch.inference_mode()
    def render(self, recipes: Sequence[Recipe], *, plan: Plan, watch: Watch) -> list[Image.Image | Flaw]:
        """See `Renderer.render`."""
        if self._current is None:
            raise RuntimeError("render before load")
        _apply(plan)
        resident = self._current
        seeds = [recipe["seed"] for recipe in recipes]
        # A shallow copy: the parts are shared, the scheduler is the batch's own, the pattern stays untouched.
        pipe = copy.copy(resident.pipe)
        pipe.scheduler = new_scheduler(resident.pipe.scheduler, recipes[0]["scheduler"], seeds)
        draws = generators(seeds)
        factor = pipe.vae_scale_factor
        noise = starting_noise(
            draws,
            channels=pipe.unet.config.in_channels,
            height=recipes[0]["height"] // factor,
            width=recipes[0]["width"] // factor,
        )
        made = pipe(
            **call_arguments(recipes),
            generator=draws,
            latents=noise.to(resident.dtype),
            output_type="pt",
            callback_on_step_end=_on_step(resident, watch),
            callback_on_step_end_tensor_inputs=["latents"],
        )
        return [_picture(sample) for sample in made.images]


def _on_step(resident: Resident, watch: Watch) -> Any:
    def on_step(pipe: Any, step: int, _: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        every, done, steps = watch.preview_every, step + 1, pipe.num_timesteps
        if every and done % every == 0:
            for slot, picture in enumerate(resident.latent_map.pictures(tensors["latents"])):
                watch.preview(slot, picture)
        watch.step(done, steps)
        return {}

    return on_step


def _picture(sample: Tensor) -> Image.Image | Flaw:
    """8-bit RGB of one (3, height, width) sample in [0, 1], rounded as diffusers rounds."""
    pixels = sample.to("cpu", torch.float32)
    if not bool(torch.isfinite(pixels).all()):
        return Flaw("non_finite", "the picture holds NaN or infinite values")
    rounded = (pixels.permute(1, 2, 0).numpy() * 255).round().astype("uint8")
    return Image.fromarray(rounded)


def _apply(plan: Plan) -> None:
    """Bring torch to what the plan says; both are global to the process."""
    if torch.get_num_threads() != plan.threads:
        torch.set_num_threads(plan.threads)
    torch.backends.cuda.matmul.allow_tf32 = plan.tf32
    torch.backends.cudnn.allow_tf32 = plan.tf32
    torch.backends.cudnn.benchmark = False  # picks kernels by time, so by chance


def _device(device: torch.device) -> Device:
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return Device(type="cuda", name=facts.name, memory_bytes=facts.total_memory)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 0
    return Device(type="cpu", name=f"cpu ({platform.machine()})", memory_bytes=memory)
