"""The pipelines that are loaded now: a few, the least recently used leaves first.

Loading costs seconds to minutes and reading weights costs the disk of everybody, so a worker keeps what it has.
"""

import contextlib
import gc
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from storage.errors import ModelUnusable
from worker.diffusion.folders import family
from worker.diffusion.preview import LatentMap, fit


@dataclass(frozen=True, slots=True)
class Key:
    """What makes two loaded pipelines different."""

    digest: str
    dtype: str
    device: str


@dataclass(slots=True)
class Resident:
    """One loaded pipeline. Its scheduler is a pattern and is never used itself."""

    pipe: Any
    dtype: torch.dtype
    device: torch.device
    _map: LatentMap | None = None

    @property
    def latent_map(self) -> LatentMap:
        """From latents to colours, fitted at the first use."""
        if self._map is None:
            self._map = fit(self.pipe.vae)
        return self._map


class Pipelines:
    """The loaded pipelines of one device."""

    def __init__(self, limit: int, device: torch.device) -> None:
        self._limit = limit
        self._device = device
        self._loaded: OrderedDict[Key, Resident] = OrderedDict()

    def digests(self) -> list[str]:
        """Of the loaded models, the most recently used last."""
        return list(dict.fromkeys(key.digest for key in self._loaded))

    def get(self, folder: Path, *, source: str, digest: str, dtype: str) -> Resident:
        """The pipeline of a model; loads it unless it is resident.

        Raises:
            ModelUnusable: diffusers cannot load it.
        """
        key = Key(digest, dtype, str(self._device))
        if key not in self._loaded:
            while len(self._loaded) >= self._limit:  # before, not after: the memory has to hold both otherwise
                self._loaded.popitem(last=False)
                _sweep()
            self._loaded[key] = self._load(folder, source, dtype)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _load(self, folder: Path, source: str, dtype: str) -> Resident:
        kind = getattr(torch, dtype)
        extra: dict[str, Any] = {}
        if family(folder, source) == "StableDiffusionPipeline":
            extra = {"safety_checker": None, "requires_safety_checker": False}
        else:
            extra = {"add_watermarker": False}  # on wherever its package is installed, and changes pixels
        try:
            pipe = DiffusionPipeline.from_pretrained(
                str(folder), dtype=kind, use_safetensors=True, local_files_only=True, **extra
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
            said = (str(error).strip() or "no reason given").splitlines()[0][:300]
            raise ModelUnusable(source, f"{type(error).__name__}: {said}") from error
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval().requires_grad_(False)
        with contextlib.suppress(AttributeError):
            pipe.safety_checker = None
        return Resident(pipe.to(self._device), kind, self._device)


def _sweep() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
