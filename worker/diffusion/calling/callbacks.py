"""Code of the operator's own at every step, found by entry point (group "seedfarm.callbacks").

A job names callbacks; whoever runs the worker allows them with FARM_CALLBACKS, since they are code. An entry point is
called with the job's options and gives a callable of diffusers' own shape: (pipeline, step, timestep, tensors) -> dict
of the tensors that it changes. It may have `tensor_inputs`, a list of the tensors that it wants besides the latents.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from torch import Tensor

from storage.errors import OptionRefused, RefusedHere, nearest
from worker.faults import is_of_device
from worker.renderer import Recipe

GROUP: Final = "seedfarm.callbacks"
Callback = Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor] | None]


def make_callbacks(recipe: Recipe, *, allowed: Sequence[str]) -> list[Callback]:
    """The callbacks of a batch, fresh, in the order of the recipe.

    Raises:
        OptionRefused: One is not allowed here, not installed, or refuses its options.
    """
    return [_make(entry["name"], entry["options"], allowed) for entry in recipe.get("callbacks", [])]


def wanted_tensors(callbacks: Sequence[Callback]) -> list[str]:
    """The tensors that callbacks want to see besides the latents."""
    return [name for callback in callbacks for name in getattr(callback, "tensor_inputs", []) if name != "latents"]


def _make(name: str, options: dict[str, Any], allowed: Sequence[str]) -> Callback:
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in known:
        hint = nearest(name, known) or "none is installed"
        raise RefusedHere("callbacks", name, f"no such entry point in {GROUP!r} on this worker; {hint}")
    if name not in allowed:
        raise RefusedHere("callbacks", name, "not allowed on this worker; its operator sets FARM_CALLBACKS")
    try:
        made: Callback = known[name].load()(**options)
    except Exception as error:  # somebody else's code
        if is_of_device(error):
            raise
        reason = f"refuses {options or 'to start'}: {type(error).__name__}: {error}"
        raise OptionRefused("callbacks", name, reason) from error
    return made
