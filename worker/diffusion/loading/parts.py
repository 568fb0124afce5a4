"""Loaded components, shared: two models with the same text encoder or VAE hold it once.

A component is known by the digest of its own files, so that a refiner finds the base's text encoder whatever folder it
lies in. The table holds nobody back: what no pipeline uses any more is gone.
"""

import inspect
import json
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline

from storage.errors import ModelUnusable
from storage.models.anatomy.pipelines import INDEX
from storage.models.digests import Hashes
from storage.models.layout import FILE, Layout
from worker.faults import is_of_device

_BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError)


class Parts:
    """Loads models, and shares their components."""

    def __init__(self, hashes: Hashes, device: torch.device) -> None:
        self._hashes = hashes
        self._device = device
        self._shared: weakref.WeakValueDictionary[tuple[str, str], torch.nn.Module] = weakref.WeakValueDictionary()

    def checkpoint(self, layout: Layout, *, source: str, dtype: torch.dtype, placement: str) -> Any:
        """A pipeline with the weights of a checkpoint, in evaluation mode, still on the CPU where its parts are new.

        Args:
            layout: Its files on this host.
            source: How the user named it.
            dtype: Of the weights.
            placement: What it will be prepared for; parts that are prepared differently are not shared.

        Raises:
            ModelUnusable: diffusers cannot load it.
        """
        with _worded(source):
            if FILE in layout.files:
                from worker.diffusion.single import load_single

                pipe = load_single(layout, dtype=dtype)
            else:
                pipe = self._folder(layout, dtype, placement)
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval().requires_grad_(False)
        return pipe

    def component(self, layout: Layout, *, source: str, dtype: torch.dtype, beside: Any) -> Any:
        """A VAE, ControlNet or safety checker by itself, on the device.

        A single file holds weights alone: its configuration follows the pipeline `beside` it, which is part of what
        tells it apart.

        Raises:
            ModelUnusable: It cannot be loaded.
        """
        is_file = FILE in layout.files and "config.json" not in layout.files  # transformers calls its weights so too
        key = (self._hashes.digest_of(layout.files), f"{dtype} beside {type(beside).__name__ if is_file else 'any'}")
        found = self._shared.get(key)
        if found is None:
            with _worded(source):
                if is_file:
                    from worker.diffusion.single import load_single_part

                    loaded = load_single_part(layout, dtype=dtype, beside=beside)
                else:
                    loaded = _load_component(layout, dtype)
                found = loaded.eval().requires_grad_(False).to(self._device)
            self._shared[key] = found
        return found

    def _folder(self, layout: Layout, dtype: torch.dtype, placement: str) -> Any:
        keys = {name: (digest, f"{dtype} {placement}") for name, digest in self._digests(layout).items()}
        known = {name: part for name, key in keys.items() if (part := self._shared.get(key)) is not None}
        folder = _root(layout)
        kind = getattr(diffusers, layout.family, DiffusionPipeline)
        pipe = kind.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, local_files_only=True, variant=layout.variant,
            **{**_absent(kind, folder), **_silenced(kind), **known},
        )  # fmt: skip
        for name, key in keys.items():
            part = pipe.components.get(name)
            if isinstance(part, torch.nn.Module):
                self._shared[key] = part
        return pipe

    def _digests(self, layout: Layout) -> Mapping[str, str]:
        """Of each component that has weights, by name."""
        parts: dict[str, dict[str, Path]] = {}
        for name, path in layout.files.items():
            folder, slash, file = name.partition("/")
            if slash:
                parts.setdefault(folder, {})[file] = path
        weighty = {name: files for name, files in parts.items() if any(file.endswith(".safetensors") for file in files)}
        return {name: self._hashes.digest_of(files) for name, files in weighty.items()}


def _silenced(kind: Any) -> dict[str, Any]:
    """What a pipeline is loaded without: checkers and watermarks are asked for by a job, never there by themselves."""
    knobs: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False, "add_watermarker": False}
    knows = inspect.signature(kind.__init__).parameters
    return {name: value for name, value in knobs.items() if name in knows}


def _absent(kind: Any, folder: Path) -> dict[str, None]:
    """Parts that a model was saved without, such as SD 3's third text encoder: diffusers wants to hear of each."""
    index = json.loads((folder / INDEX).read_text())
    needed = [name for name, each in inspect.signature(kind.__init__).parameters.items() if each.default is each.empty]
    return {name: None for name in needed if name != "self" and index.get(name) in (None, [None, None])}


def _root(layout: Layout) -> Path:
    name, path = next(iter(layout.files.items()))
    return path.parents[name.count("/")]


def _load_component(layout: Layout, dtype: torch.dtype) -> Any:
    kind = _class_of(layout.family)
    return kind.from_pretrained(str(_root(layout)), dtype=dtype, use_safetensors=True, local_files_only=True)


def _class_of(family: str) -> Any:
    if family == "StableDiffusionSafetyChecker":
        from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

        return StableDiffusionSafetyChecker
    return getattr(diffusers, family)


class _worded:  # noqa: N801  # a context manager, used like a function
    """Turns what a library raises while it loads into a sentence about the model."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, ModelUnusable) or not isinstance(error, _BROKEN):
            return
        if is_of_device(error):
            return
        said = (str(error).strip() or "no reason given").splitlines()[0][:300]
        raise ModelUnusable(self._source, f"{type(error).__name__}: {said}") from error
