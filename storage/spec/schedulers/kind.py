"""What the list says of one scheduler."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Sampling = Literal["diffusion", "flow"]  # how a model was trained: to see noise, or to see the way to the picture
Calls = Literal["one", "two", "plms"]  # of the model in a step
_NONE: Mapping[str, object] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerKind:
    """One entry of the menu."""

    name: str
    diffusers_class: str
    options: frozenset[str]  # constructor options a job may set
    models: Sampling = "diffusion"  # what it can sample from
    preset: Mapping[str, object] = field(default_factory=dict)  # options that the short name implies
    stochastic: bool = False  # draws noise in every step
    calls: Calls = "one"
    takes_eta: bool = False
    needs: str | None = None  # a package that diffusers does not install by itself
    aliases: tuple[str, ...] = ()
    note: str = ""

    def model_calls(self, steps: int, options: Mapping[str, object] = _NONE) -> int:
        """How often a call of `steps` steps runs the denoiser (both halves of guidance count as one).

        Args:
            steps: As the job says them, at least 1.
            options: That the job sets.
        """
        if self.calls == "two":
            return 2 * steps - 1  # the last step goes to zero noise, where there is nothing to correct
        if self.calls == "plms":
            if options.get("skip_prk_steps", True) is False:
                return steps + 9  # the first three steps take four calls each
            return steps + (steps > 1)
        return steps

    def needs_with(self, options: Mapping[str, object]) -> str | None:
        """The package that it needs with these options; beta schedules are computed with scipy."""
        return self.needs or ("scipy" if options.get("use_beta_sigmas") else None)
