"""The schedulers that a job may name, without importing diffusers.

An explicit list, because neither "it is exported" nor `scheduler.compatibles` means "it draws the right picture":
EDMEuler is listed as compatible with Stable Diffusion and gives noise, LCM and TCD are not listed and work.
A test holds classes and options equal to those of the installed diffusers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.errors import InvalidSpec, nearest

_BASE = frozenset(
    {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "timestep_spacing"}
    | {"steps_offset"}
)
_SIGMAS = frozenset({"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"})
_THRESHOLD = frozenset({"thresholding", "dynamic_thresholding_ratio", "sample_max_value"})
_FLOW = frozenset({"use_flow_sigmas", "flow_shift", "use_dynamic_shifting", "time_shift_type"})
_CLIP = frozenset({"clip_sample", "clip_sample_range"})
_SOLVER = _BASE | _SIGMAS | _THRESHOLD | _FLOW | {"solver_order", "solver_type", "lower_order_final"}
_DPM = _SOLVER | {"algorithm_type", "final_sigmas_type", "lambda_min_clipped", "variance_type"}
_LCM = _BASE | _CLIP | _THRESHOLD | {"original_inference_steps", "set_alpha_to_one", "timestep_scaling"}
_ZERO_SNR = frozenset({"rescale_betas_zero_snr"})


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerKind:
    """One entry of the menu."""

    name: str
    diffusers_class: str
    options: frozenset[str]  # constructor options a job may set
    preset: Mapping[str, object] = field(default_factory=dict)  # options that the short name implies
    stochastic: bool = False  # draws noise in every step
    second_order: bool = False  # calls the model 2 N - 1 times for N steps
    aliases: tuple[str, ...] = ()
    note: str = ""

    def model_calls(self, steps: int) -> int:
        """How often N steps run the denoiser (both halves of guidance count as one)."""
        return 2 * steps - 1 if self.second_order else steps


def _kinds() -> list[SchedulerKind]:
    multistep = "DPMSolverMultistepScheduler"
    dpm_multi = _DPM | _ZERO_SNR | {"euler_at_final", "use_lu_lambdas"}
    dpm_single = _DPM - {"timestep_spacing", "steps_offset"}
    euler = _BASE | _SIGMAS | _ZERO_SNR | {"interpolation_type", "timestep_type", "final_sigmas_type"}
    euler = euler | {"sigma_min", "sigma_max"}
    karras: dict[str, object] = {"use_karras_sigmas": True}
    sde: dict[str, object] = {"algorithm_type": "sde-dpmsolver++"}
    kind = SchedulerKind
    return [
        kind(
            name="ddim",
            diffusers_class="DDIMScheduler",
            aliases=("DDIM",),
            options=_BASE | _CLIP | _THRESHOLD | _ZERO_SNR | {"set_alpha_to_one"},
        ),
        kind(
            name="ddpm",
            diffusers_class="DDPMScheduler",
            aliases=("DDPM",),
            stochastic=True,
            options=_BASE | _CLIP | _THRESHOLD | _ZERO_SNR | {"variance_type"},
        ),
        kind(
            name="pndm",
            diffusers_class="PNDMScheduler",
            aliases=("PLMS", "PNDM"),
            preset={"skip_prk_steps": True},
            options=_BASE | {"skip_prk_steps", "set_alpha_to_one"},
            note="one call more than steps",
        ),
        kind(name="lms", diffusers_class="LMSDiscreteScheduler", aliases=("LMS",), options=_BASE | _SIGMAS),
        kind(
            name="lms_karras",
            diffusers_class="LMSDiscreteScheduler",
            aliases=("LMS Karras",),
            preset=karras,
            options=_BASE | _SIGMAS,
        ),
        kind(name="euler", diffusers_class="EulerDiscreteScheduler", aliases=("Euler",), options=euler),
        kind(
            name="euler_a",
            diffusers_class="EulerAncestralDiscreteScheduler",
            stochastic=True,
            aliases=("Euler a", "euler_ancestral"),
            options=_BASE | _ZERO_SNR,
        ),
        kind(
            name="heun",
            diffusers_class="HeunDiscreteScheduler",
            second_order=True,
            aliases=("Heun",),
            options=_BASE | _SIGMAS | _CLIP,
        ),
        kind(
            name="kdpm2",
            diffusers_class="KDPM2DiscreteScheduler",
            second_order=True,
            aliases=("DPM2",),
            options=_BASE | _SIGMAS,
        ),
        kind(
            name="kdpm2_a",
            diffusers_class="KDPM2AncestralDiscreteScheduler",
            second_order=True,
            stochastic=True,
            aliases=("DPM2 a", "kdpm2_ancestral"),
            options=_BASE | _SIGMAS,
        ),
        kind(name="dpmpp_2m", diffusers_class=multistep, aliases=("DPM++ 2M",), options=dpm_multi),
        kind(
            name="dpmpp_2m_karras",
            diffusers_class=multistep,
            aliases=("DPM++ 2M Karras",),
            preset=karras,
            options=dpm_multi,
        ),
        kind(
            name="dpmpp_2m_sde",
            diffusers_class=multistep,
            aliases=("DPM++ 2M SDE",),
            preset=sde,
            stochastic=True,
            options=dpm_multi,
        ),
        kind(
            name="dpmpp_2m_sde_karras",
            diffusers_class=multistep,
            aliases=("DPM++ 2M SDE Karras",),
            preset={**sde, **karras},
            stochastic=True,
            options=dpm_multi,
        ),
        kind(
            name="dpmpp_2s", diffusers_class="DPMSolverSinglestepScheduler", aliases=("DPM++ 2S",), options=dpm_single
        ),
        kind(name="dpmpp_2s_karras", diffusers_class="DPMSolverSinglestepScheduler", preset=karras, options=dpm_single),
        kind(
            name="dpmpp_sde",
            diffusers_class="DPMSolverSDEScheduler",
            aliases=("DPM++ SDE",),
            stochastic=True,
            second_order=True,
            options=_BASE | _SIGMAS,
            note="needs torchsde; one noise path per image",
        ),
        kind(
            name="dpmpp_sde_karras",
            diffusers_class="DPMSolverSDEScheduler",
            aliases=("DPM++ SDE Karras",),
            stochastic=True,
            second_order=True,
            preset=karras,
            options=_BASE | _SIGMAS,
            note="needs torchsde; one noise path per image",
        ),
        kind(
            name="deis",
            diffusers_class="DEISMultistepScheduler",
            aliases=("DEIS",),
            options=_SOLVER | {"algorithm_type"},
        ),
        kind(
            name="unipc",
            diffusers_class="UniPCMultistepScheduler",
            aliases=("UniPC",),
            options=_SOLVER
            | _ZERO_SNR
            | {"predict_x0", "disable_corrector", "solver_p", "final_sigmas_type"}
            | {"sigma_min", "sigma_max", "shift_terminal"},
        ),
        kind(
            name="sa_solver",
            diffusers_class="SASolverScheduler",
            stochastic=True,
            options=(_SOLVER - {"solver_order", "solver_type", "use_dynamic_shifting", "time_shift_type"})
            | {"predictor_order", "corrector_order", "algorithm_type", "lambda_min_clipped", "variance_type"},
        ),
        kind(
            name="lcm",
            diffusers_class="LCMScheduler",
            aliases=("LCM",),
            stochastic=True,
            options=_LCM | _ZERO_SNR,
            note="for distilled models, 2 to 8 steps",
        ),
        kind(
            name="tcd",
            diffusers_class="TCDScheduler",
            aliases=("TCD",),
            stochastic=True,
            options=_LCM | _ZERO_SNR,
            note="for distilled models, 2 to 8 steps",
        ),
    ]


SCHEDULERS: Mapping[str, SchedulerKind] = {kind.name: kind for kind in _kinds()}
_BY_ALIAS = {alias.casefold(): kind for kind in SCHEDULERS.values() for alias in (kind.name, *kind.aliases)}


def find_scheduler(name: str, *, path: str = "scheduler") -> SchedulerKind:
    """Look a scheduler up by its short name or by the name other tools use for it.

    Args:
        name: Such as "euler_a" or "Euler a"; case does not matter.
        path: Where the name stood, for the message.

    Raises:
        InvalidSpec: No such scheduler.
    """
    kind = _BY_ALIAS.get(name.casefold())
    if kind is None:
        raise InvalidSpec(path, name, f"unknown scheduler; {nearest(name, SCHEDULERS)}")
    return kind


def check_options(kind: SchedulerKind, options: Mapping[str, object], *, path: str) -> None:
    """Refuse a constructor option that the class does not have.

    Raises:
        InvalidSpec: With the nearest option.
    """
    for option, value in options.items():
        if option not in kind.options:
            hint = nearest(option, kind.options)
            raise InvalidSpec(f"{path}.{option}", value, f"unknown option of {kind.name}; {hint}")
