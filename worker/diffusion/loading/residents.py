"""The checkpoints that are loaded now: a few, the least recently used leaves first.

Loading costs seconds to minutes and reading weights costs the disk of everybody, so a worker keeps what it has. One
checkpoint serves every mode: pipelines of other classes are made around the same components, never cast or copied.
"""

import gc
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch

from worker.diffusion.preview import LatentMap, fit

_KEPT_PIPES: Final = 8  # shells around shared components; what they add (a VAE, a ControlNet) is what counts


@dataclass(frozen=True, slots=True)
class Key:
    """What makes two loaded checkpoints different."""

    digest: str
    dtype: str
    placement: str  # how its weights lie on the device: "resident", or a way of offloading


@dataclass(slots=True)
class Resident:
    """One loaded checkpoint. Its schedulers are patterns and are never used themselves."""

    pipe: Any  # as the checkpoint was saved
    dtype: torch.dtype
    _pipes: OrderedDict[tuple[Any, ...], Any] = field(default_factory=OrderedDict)
    _maps: WeakKeyDictionary[Any, LatentMap] = field(default_factory=WeakKeyDictionary)

    def shell(self, kind: Any, extra: Mapping[str, Any], *, key: tuple[str, ...]) -> Any:
        """A pipeline of class `kind` around the components.

        Args:
            kind: Class of diffusers.
            extra: Components instead of or besides the checkpoint's own.
            key: What tells `extra` apart from others: digests.
        """
        place = (kind, *key)
        if place not in self._pipes:
            self._pipes[place] = self.pipe if kind is type(self.pipe) and not extra else _around(self.pipe, kind, extra)
            while len(self._pipes) > _KEPT_PIPES:
                self._pipes.popitem(last=False)
        self._pipes.move_to_end(place)
        return self._pipes[place]

    def forget_shells(self) -> bool:
        """Forget the pipelines around the checkpoint, and the components that only they hold; they are soon made anew.

        Returns:
            Whether more than one of them was there: the last one is what is rendered with.
        """
        count = len(self._pipes)
        self._pipes.clear()
        return count > 1

    def latent_map(self, vae: Any) -> LatentMap:
        """From latents to colours, fitted to a VAE at its first use."""
        if vae not in self._maps:
            self._maps[vae] = fit(vae)
        return self._maps[vae]


class Residents:
    """The loaded checkpoints of one device."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loaded: OrderedDict[Key, Resident] = OrderedDict()

    def digests(self) -> list[str]:
        """Of the loaded checkpoints, the most recently used last."""
        return list(dict.fromkeys(key.digest for key in self._loaded))

    def keep(self, keys: Sequence[Key]) -> bool:
        """Let go of all but `keys`, and of what was added to those. Returns whether there was anything."""
        victims = [key for key in self._loaded if key not in keys]
        for key in victims:
            del self._loaded[key]
        added = [resident.forget_shells() for resident in self._loaded.values()]
        sweep()
        return bool(victims) or any(added)

    def __contains__(self, key: Key) -> bool:
        return key in self._loaded

    def get(self, key: Key, load: Callable[[], Resident], *, spare: Key | None = None) -> Resident:
        """The checkpoint under `key`; loads it unless it is resident.

        Args:
            key: Which one.
            load: How to load it.
            spare: One that must not leave: the base whose refiner this is.
        """
        if key not in self._loaded:
            room = self._limit - 1 if spare is None else max(1, self._limit - 1)
            while len(self._loaded) > room:  # before, not after: the memory has to hold both otherwise
                victim = next(each for each in self._loaded if each != spare)
                del self._loaded[victim]
                sweep()
            self._loaded[key] = load()
        self._loaded.move_to_end(key)
        return self._loaded[key]


def sweep() -> None:
    """Give memory of unused weights back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _around(pipe: Any, kind: Any, extra: Mapping[str, Any]) -> Any:
    """A pipeline of another class with the same components and settings."""
    wanted = {name: each for name, each in inspect.signature(kind.__init__).parameters.items() if name != "self"}
    known = {**pipe.components, **_settings(pipe), **extra}
    given = {name: known[name] for name in wanted if name in known}
    absent = [name for name, each in wanted.items() if name not in given and each.default is each.empty]
    made = kind(**given, **dict.fromkeys(absent))
    made.set_progress_bar_config(disable=True)
    return made


def _settings(pipe: Any) -> dict[str, Any]:
    """What a pipeline was configured with besides its components, such as requires_aesthetics_score."""
    return {name: value for name, value in pipe.config.items() if not name.startswith("_") and not _is_part(value)}


def _is_part(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2
