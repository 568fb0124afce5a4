"""Pictures of models that read no prompt: a loop of ours, since diffusers' has no ear for callbacks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from worker.diffusion.calling.sampling import seat, starting_noise, takes

OnStep = Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor]]


def sample(  # noqa: PLR0913  # what a pipeline call is told, and no more
    pipe: Any,
    scheduler: Any,
    draws: Sequence[torch.Generator],
    *,
    steps: int,
    size: tuple[int, int],
    eta: float | None,
    on_step: OnStep,
) -> Tensor:
    """Draw one batch; in float32 bit-equal to diffusers' own pipelines with the same generators.

    Args:
        pipe: A shallow copy of a DDPMPipeline or DDIMPipeline, used for this call.
        scheduler: Fresh; any of a diffusion model.
        draws: One generator per image.
        steps: As the job says them.
        size: Height and width in pixels.
        eta: How much noise DDIM adds in a step; None: as the scheduler does.
        on_step: Hears (pipeline, step, timestep, {"latents": ...}) after each step, gives what it changed; may raise.

    Returns:
        (len(draws), channels, height, width) in [0, 1], in the dtype of the weights, on the device.
    """
    seat(pipe, scheduler, draws)
    device, dtype = pipe._execution_device, pipe.unet.dtype
    given = {} if eta is None or not takes(scheduler, "eta", method="step") else {"eta": eta}
    scheduler.set_timesteps(steps, device=device)
    pipe.num_timesteps = len(scheduler.timesteps)
    noise = starting_noise(draws, shape=(pipe.unet.config.in_channels, *size)).to(device, dtype)
    sample = noise * scheduler.init_noise_sigma
    for step, timestep in enumerate(scheduler.timesteps):
        predicted = pipe.unet(scheduler.scale_model_input(sample, timestep), timestep).sample
        sample = scheduler.step(predicted, timestep, sample, **given).prev_sample.to(dtype)
        sample = on_step(pipe, step, timestep, {"latents": sample}).get("latents", sample)
    pipe.maybe_free_model_hooks()
    pixels: Tensor = (sample / 2 + 0.5).clamp(0, 1)
    return pixels
