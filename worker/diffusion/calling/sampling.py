"""Seeds, noise and scheduler of a batch.

An image must not change with the batch that happens to carry it. So every image draws from a generator of its own,
on the CPU and in float32, where the numbers depend neither on the card nor on the precision of the weights; and every
batch gets a new scheduler, since schedulers keep state between steps.
"""

import copy
import inspect
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

import diffusers
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from storage.errors import OptionRefused, RefusedHere
from storage.spec.schedulers import is_flow_class

_KEPT = 64  # schedulers that were built and never used
_UNUSED: OrderedDict[str, Any] = OrderedDict()
_HALF = (torch.float16, torch.bfloat16)
# Options that tell how to solve, not what the model is; a job says them by a scheduler's name or as its options.
_SOLVING = frozenset(
    {"algorithm_type", "solver_order", "solver_type", "solver_p", "lower_order_final", "euler_at_final", "predict_x0"}
    | {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas"}
    | {"skip_prk_steps", "stochastic_sampling", "disable_corrector", "predictor_order", "corrector_order"}
    | {"final_sigmas_type", "interpolation_type", "timestep_type", "original_inference_steps", "variance_type"}
)


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per seed, each in [0, 2**63)."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


class Float32Noise(TorchFunctionMode):
    """Within it, noise from a CPU generator is drawn in float32 and rounded afterwards.

    Pipelines ask for noise in the dtype of their weights. Half-precision draws differ from release to release of torch,
    and from float32's: the same seed would start from another picture for another dtype.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See `TorchFunctionMode`."""
        kwargs = kwargs or {}
        if func is torch.randn and kwargs.get("generator") is not None and kwargs.get("dtype") in _HALF:
            return func(*args, **{**kwargs, "dtype": torch.float32}).to(kwargs["dtype"])
        return func(*args, **kwargs)


def in_float32(draw: Callable[..., Any]) -> Callable[..., Any]:
    """A function that draws noise, made to draw it in float32."""

    @wraps(draw)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with Float32Noise():
            return draw(*args, **kwargs)

    return wrapped


def seat(pipe: Any, scheduler: Any, draws: Sequence[torch.Generator]) -> None:
    """Give a pipeline the scheduler of one batch, and make both draw as they should.

    Args:
        pipe: A shallow copy, used for one call.
        scheduler: Fresh.
        draws: One generator per image. Some pipelines (SD 3, Flux) do not hand them to `step` by themselves.
    """
    step = scheduler.step
    if "generator" in inspect.signature(step).parameters:
        step = partial(step, generator=draws[0] if len(draws) == 1 else list(draws))
    if hasattr(scheduler, "noise_sampler_seed"):
        step = _on_one_path(scheduler, step)
    if any(getattr(part, "dtype", None) in _HALF for part in pipe.components.values()):
        step = in_float32(step)
        for name in ("prepare_latents", "prepare_mask_latents", "prepare_image_latents"):
            if hasattr(pipe, name):
                setattr(pipe, name, in_float32(getattr(pipe, name)))
    scheduler.step = step
    if is_flow_class(type(scheduler).__name__, scheduler.config):
        scheduler.set_timesteps = _pliant(scheduler)
    pipe.scheduler = scheduler


def new_scheduler(pattern: Any, wanted: Mapping[str, Any] | None, seeds: Sequence[int]) -> Any:
    """A scheduler of its own for one batch.

    Args:
        pattern: The model's scheduler; what the recipe leaves open of the model comes from its config. How to solve
            does not: a name means the same on every model.
        wanted: "class" and "options" of the recipe; None: as the pattern.
        seeds: Of the batch.

    Raises:
        OptionRefused: It cannot be built here, or not with these options.
    """
    name = type(pattern).__name__ if wanted is None else str(wanted["class"])
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise RefusedHere("scheduler", name, f"diffusers {diffusers.__version__} has none of that name; update it")
    config = dict(pattern.config) if wanted is None else _model_facts(pattern.config, kind)
    scheduler = _built(kind, config, {} if wanted is None else wanted["options"])
    if hasattr(scheduler, "noise_sampler_seed"):
        scheduler.noise_sampler_seed = list(seeds)  # it ignores generators; one path of noise per image
    return scheduler


def misfit(pattern: Any, scheduler: Any) -> str | None:
    """Why a scheduler cannot sample from a model; None if it can.

    Args:
        pattern: The model's own scheduler.
        scheduler: A fresh one of `new_scheduler`.
    """
    flows = is_flow_class(type(pattern).__name__, pattern.config)
    if flows != is_flow_class(type(scheduler).__name__, scheduler.config):
        if flows:
            return "the model was trained for flow matching; take one whose name begins with flow_"
        return "the model was not trained for flow matching; take one whose name does not begin with flow_"
    if pattern.config.get("use_dynamic_shifting") and not takes(scheduler, "mu", method="set_timesteps"):
        return "it cannot shift its steps with the size of the picture, as the model wants; take flow_euler"
    return None


def rehearse(scheduler: Any, schedule: Mapping[str, Any]) -> None:
    """Set the steps of a scheduler that is not used afterwards, to see whether it takes them.

    Args:
        scheduler: A fresh one of `new_scheduler`.
        schedule: One of num_inference_steps, timesteps and sigmas, with its value.

    Raises:
        OptionRefused: It does not.
    """
    shifting = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    try:
        scheduler.set_timesteps(**schedule, **shifting, device="cpu")
    except Exception as error:  # each class has its own way to say no
        key, value = next(iter(schedule.items()))
        named = "steps" if key == "num_inference_steps" else key
        raise OptionRefused(named, value, f"{type(scheduler).__name__} refuses: {_first_line(error)}") from error


def takes(scheduler: Any, option: str, *, method: str) -> bool:
    """Whether a scheduler's `step` or `set_timesteps` has an argument of that name."""
    return option in inspect.signature(getattr(scheduler, method)).parameters


def starting_noise(draws: Sequence[torch.Generator], *, shape: tuple[int, int, int]) -> Tensor:
    """Draw the first latents of a batch.

    Args:
        draws: One per image; the steps of a stochastic scheduler draw on from them.
        shape: Channels, height and width of one image's latents.

    Returns:
        Standard normal float32 on the CPU, (len(draws), *shape).
    """
    return torch.cat([torch.randn((1, *shape), generator=draw) for draw in draws])


def _built(kind: Any, config: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """A fresh scheduler: a copy of one that was never used, since some classes take a second to build."""
    key = f"{kind.__name__} {sorted(config.items(), key=str)} {sorted(options.items(), key=str)}"
    if key not in _UNUSED:
        try:
            _UNUSED[key] = kind.from_config(dict(config), **options)
        except (ValueError, TypeError, NotImplementedError, ImportError, AssertionError) as error:
            raise OptionRefused("scheduler", kind.__name__, f"cannot be built: {_first_line(error)}") from error
        while len(_UNUSED) > _KEPT:
            _UNUSED.popitem(last=False)
    _UNUSED.move_to_end(key)
    return copy.deepcopy(_UNUSED[key])


def _model_facts(config: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """What a scheduler's config says of the model it was saved with, in the words of the class `kind`."""
    facts = {name: value for name, value in config.items() if name not in _SOLVING}
    # Where nothing is said, the classes that clip would clip latents, whose values pass 1.
    facts = {
        "clip_sample": False,
        "shift": facts.get("flow_shift", 1.0),
        "flow_shift": facts.get("shift", 1.0),
        **facts,
    }
    known = inspect.signature(kind.__init__).parameters
    return {name: value for name, value in facts.items() if name in known or name == "_use_default_values"}


def _on_one_path(scheduler: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of DPM++ SDE, whose path of noise is walked on the CPU in float32, like all noise."""
    from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler  # needs torchsde

    @wraps(step)
    def wrapped(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        if scheduler.noise_sampler is None:
            sigmas = scheduler.sigmas
            shape = torch.empty(sample.shape, dtype=torch.float32)
            path = BrownianTreeNoiseSampler(
                shape, sigmas[sigmas > 0].min().item(), sigmas.max().item(), scheduler.noise_sampler_seed
            )

            def noise(start: Tensor, end: Tensor) -> Tensor:
                with warnings.catch_warnings():  # it rounds the ends of the path, and warns of what it rounded
                    warnings.simplefilter("ignore", UserWarning)
                    walked: Tensor = path(start.cpu(), end.cpu())
                return walked.to(sample.device, sample.dtype)

            scheduler.noise_sampler = noise
        return step(model_output, timestep, sample, *args, **kwargs)

    return wrapped


def _pliant(scheduler: Any) -> Callable[..., None]:
    """A `set_timesteps` that may be told what pipelines of flow models say unasked, of use to the scheduler or not.

    Those are a shift for a scheduler that does not shift, and evenly spaced sigmas for one that spaces them itself.
    """
    plain, name = scheduler.set_timesteps, type(scheduler).__name__
    knows_sigmas = "FlowMatch" in name and takes(scheduler, "sigmas", method="set_timesteps")
    shifts = bool(scheduler.config.get("use_dynamic_shifting"))

    def set_timesteps(
        num_inference_steps: int | None = None, device: Any = None, *, timesteps: Any = None, sigmas: Any = None,
        mu: float | None = None,
    ) -> None:  # fmt: skip
        if sigmas is not None and not knows_sigmas:
            num_inference_steps, sigmas = len(sigmas), None
        said = {"num_inference_steps": num_inference_steps, "timesteps": timesteps, "sigmas": sigmas}
        shift = {"mu": mu} if shifts and mu is not None else {}
        plain(device=device, **shift, **{key: value for key, value in said.items() if value is not None})

    return set_timesteps


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
