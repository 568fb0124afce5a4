"""Two callbacks that change latents between steps: a model to copy for callbacks of your own.

An entry point of the group "seedfarm.callbacks" is called with the options of the job file and gives what is called
after every step, in the shape that diffusers has for it. It is made anew for every batch, so it may keep what it needs
from step to step; but an image must not depend on the others of its batch, so each is changed by itself.

Whatever is raised while it is made, such as a ValueError about an option, refuses the job before its first picture.
"""

from typing import Any

from torch import Tensor


class Drift:
    """Moves one channel of the latents a little at every step: a tint, and a change of shape where it starts early."""

    def __init__(self, *, channel: int = 1, amount: float = 1.5, start: float = 0.5) -> None:
        """Say what moves.

        Args:
            channel: Of the latents, from 0.
            amount: How far it has moved after the last step, in latent units; their deviation is about 1.
            start: Share of the steps before the first move, in [0, 1).
        """
        if channel < 0:
            raise ValueError(f"channel = {channel}: must be at least 0")
        if not 0 <= start < 1:
            raise ValueError(f"start = {start}: must be at least 0 and below 1")
        self.channel, self.amount, self.start = channel, amount, start

    def __call__(self, pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The latents after step `step` (from 0): (batch, channels, height, width)."""
        first = int(self.start * pipeline.num_timesteps)
        if step < first:
            return {}
        latents = tensors["latents"].clone()
        latents[:, self.channel] += self.amount / (pipeline.num_timesteps - first)
        return {"latents": latents}


class Contrast:
    """Stretches the latents of each image about their mean, over the last steps."""

    def __init__(self, *, amount: float = 0.3, start: float = 0.5) -> None:
        """Say how much: 0.3 is 30 % more in all, negative is less; `start` as in Drift."""
        if amount <= -1:
            raise ValueError(f"amount = {amount}: must be above -1")
        if not 0 <= start < 1:
            raise ValueError(f"start = {start}: must be at least 0 and below 1")
        self.amount, self.start = amount, start

    def __call__(self, pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The latents after step `step` (from 0): (batch, channels, height, width)."""
        first = int(self.start * pipeline.num_timesteps)
        if step < first:
            return {}
        latents = tensors["latents"]
        mean = latents.mean(dim=(2, 3), keepdim=True)
        factor = (1 + self.amount) ** (1 / (pipeline.num_timesteps - first))
        return {"latents": mean + (latents - mean) * factor}
