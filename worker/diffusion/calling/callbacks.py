"""Code of the operator's own at every step, found by entry point (group "seedfarm.callbacks").

A job names callbacks; whoever runs the worker allows them with FARM_CALLBACKS, since they are code. An entry point is
called with the job's options and gives a callable of diffusers' own shape: (pipeline, step, timestep, tensors) -> dict
of the tensors that it changes. It may have `tensor_inputs`, a list of the tensors that it wants besides the latents.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from storage.errors import OptionRefused
from storage.spec.recipe import CALLBACK
from worker.faults import is_of_device
from worker.named_code import find_code
from worker.renderer import Recipe

Callback = Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor] | None]


def make_callbacks(recipe: Recipe, *, allowed: tuple[str, ...]) -> list[Callback]:
    """The callbacks of a batch, fresh, in the order of the recipe.

    Raises:
        OptionRefused: One is not allowed here, not installed, or refuses its options.
    """
    return [_make(entry["name"], entry["options"], allowed) for entry in recipe.get("callbacks", [])]


def wanted_tensors(callbacks: Sequence[Callback]) -> list[str]:
    """The tensors that callbacks want to see besides the latents."""
    return [name for callback in callbacks for name in getattr(callback, "tensor_inputs", []) if name != "latents"]


def _make(name: str, options: dict[str, Any], allowed: tuple[str, ...]) -> Callback:
    found = find_code(CALLBACK, name, allowed=allowed)
    try:
        made: Callback = found.load()(**options)
    except Exception as error:  # somebody else's code
        if is_of_device(error):
            raise
        reason = f"refuses {options or 'to start'}: {type(error).__name__}: {error}"
        raise OptionRefused("callbacks", name, reason) from error
    return made
