"""Schedulers of models that predict noise, v or the picture: Stable Diffusion 1 and 2, SDXL, DDPM.

A name of A1111 stands only where the algorithm is the same one. Noise is not: theirs comes from another generator.
"""

from storage.spec.schedulers.kind import SchedulerKind as Kind
from storage.spec.schedulers.options import (
    BASE,
    CLIP,
    DISTILLED,
    DPM,
    EXPONENTIAL,
    KARRAS,
    SDE,
    SIGMAS,
    SOLVER,
    THRESHOLD,
    ZERO_SNR,
)

_MULTI, _SINGLE = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
_LMS, _KDPM2, _KDPM2_A = "LMSDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"
_BROWNIAN = "DPMSolverSDEScheduler"
_multi = DPM | ZERO_SNR | {"euler_at_final", "use_lu_lambdas"}
_single = DPM - {"timestep_spacing", "steps_offset"}
_euler = BASE | SIGMAS | ZERO_SNR | {"interpolation_type", "timestep_type", "final_sigmas_type"}
_unipc = SOLVER | ZERO_SNR | {"predict_x0", "disable_corrector", "solver_p", "final_sigmas_type"}
_sa = (SOLVER - {"solver_order", "solver_type"}) | {"predictor_order", "corrector_order", "algorithm_type"}
_HEUN = {"solver_type": "heun"}
_FEW = "for distilled models, 2 to 8 steps"
_PATH = "one noise path per image"

DIFFUSION = (
    Kind(
        name="ddim", diffusers_class="DDIMScheduler", takes_eta=True, note="draws noise with eta above 0",
        options=BASE | CLIP | THRESHOLD | ZERO_SNR | {"set_alpha_to_one"},
    ),
    Kind(
        name="ddpm", diffusers_class="DDPMScheduler", stochastic=True,
        options=BASE | CLIP | THRESHOLD | ZERO_SNR | {"variance_type"},
    ),
    Kind(
        name="pndm", diffusers_class="PNDMScheduler", aliases=("PLMS",), preset={"skip_prk_steps": True}, calls="plms",
        options=BASE | {"skip_prk_steps", "set_alpha_to_one"},
    ),
    Kind(name="lms", diffusers_class=_LMS, options=BASE | SIGMAS, needs="scipy"),
    Kind(
        name="lms_karras", diffusers_class=_LMS, aliases=("LMS Karras",), preset=KARRAS, options=BASE | SIGMAS,
        needs="scipy",
    ),
    Kind(
        name="euler", diffusers_class="EulerDiscreteScheduler", options=_euler | {"sigma_min", "sigma_max"},
        aliases=("k_euler",),
    ),
    Kind(
        name="euler_a", diffusers_class="EulerAncestralDiscreteScheduler", stochastic=True, options=BASE | ZERO_SNR,
        aliases=("Euler a", "euler_ancestral", "k_euler_a"),
    ),
    Kind(
        name="heun", diffusers_class="HeunDiscreteScheduler", calls="two", options=BASE | SIGMAS | CLIP,
        aliases=("k_heun",),
    ),
    Kind(
        name="kdpm2", diffusers_class=_KDPM2, calls="two", aliases=("DPM2", "dpm_2", "k_dpm_2"),
        options=BASE | SIGMAS,
    ),
    Kind(
        name="kdpm2_karras", diffusers_class=_KDPM2, calls="two", aliases=("DPM2 Karras",), preset=KARRAS,
        options=BASE | SIGMAS,
    ),
    Kind(
        name="kdpm2_a", diffusers_class=_KDPM2_A, calls="two", stochastic=True, options=BASE | SIGMAS,
        aliases=("DPM2 a", "kdpm2_ancestral", "dpm_2_ancestral", "k_dpm_2_a"),
    ),
    Kind(
        name="kdpm2_a_karras", diffusers_class=_KDPM2_A, calls="two", stochastic=True, aliases=("DPM2 a Karras",),
        preset=KARRAS, options=BASE | SIGMAS,
    ),
    Kind(name="dpmpp_2m", diffusers_class=_MULTI, aliases=("DPM++ 2M",), options=_multi),
    Kind(
        name="dpmpp_2m_karras", diffusers_class=_MULTI, aliases=("DPM++ 2M Karras",), preset=KARRAS, options=_multi,
    ),
    Kind(
        name="dpmpp_2m_sde", diffusers_class=_MULTI, aliases=("DPM++ 2M SDE",), preset=SDE, stochastic=True,
        options=_multi,
    ),
    Kind(
        name="dpmpp_2m_sde_karras", diffusers_class=_MULTI, aliases=("DPM++ 2M SDE Karras",), stochastic=True,
        preset={**SDE, **KARRAS}, options=_multi,
    ),
    Kind(
        name="dpmpp_2m_sde_exponential", diffusers_class=_MULTI, aliases=("DPM++ 2M SDE Exponential",),
        stochastic=True, preset={**SDE, **EXPONENTIAL}, options=_multi,
    ),
    Kind(
        name="dpmpp_2m_sde_heun", diffusers_class=_MULTI, aliases=("DPM++ 2M SDE Heun",), stochastic=True,
        preset={**SDE, **_HEUN}, options=_multi,
    ),
    Kind(
        name="dpmpp_2m_sde_heun_karras", diffusers_class=_MULTI, aliases=("DPM++ 2M SDE Heun Karras",),
        stochastic=True, preset={**SDE, **_HEUN, **KARRAS}, options=_multi,
    ),
    Kind(name="dpmpp_2s", diffusers_class=_SINGLE, aliases=("DPM++ 2S",), options=_single),
    Kind(name="dpmpp_2s_karras", diffusers_class=_SINGLE, preset=KARRAS, options=_single),
    Kind(name="dpmpp_2s_sde", diffusers_class=_SINGLE, preset=SDE, stochastic=True, options=_single),
    Kind(
        name="dpmpp_2s_sde_karras", diffusers_class=_SINGLE, preset={**SDE, **KARRAS}, stochastic=True,
        options=_single,
    ),
    Kind(
        name="dpmpp_sde", diffusers_class=_BROWNIAN, aliases=("DPM++ SDE",), stochastic=True, calls="two",
        options=BASE | SIGMAS, needs="torchsde", note=_PATH,
    ),
    Kind(
        name="dpmpp_sde_karras", diffusers_class=_BROWNIAN, aliases=("DPM++ SDE Karras",), stochastic=True,
        calls="two", preset=KARRAS, options=BASE | SIGMAS, needs="torchsde", note=_PATH,
    ),
    Kind(name="deis", diffusers_class="DEISMultistepScheduler", options=SOLVER | {"algorithm_type"}),
    Kind(
        name="unipc", diffusers_class="UniPCMultistepScheduler", aliases=("uni_pc",),
        options=_unipc | {"sigma_min", "sigma_max"}, note="A1111's: solver_type bh1, solver_order 3",
    ),
    Kind(
        name="sa_solver", diffusers_class="SASolverScheduler", stochastic=True,
        options=_sa | {"lambda_min_clipped", "variance_type"},
    ),
    Kind(name="lcm", diffusers_class="LCMScheduler", stochastic=True, options=DISTILLED, note=_FEW),
    Kind(
        name="tcd", diffusers_class="TCDScheduler", stochastic=True, takes_eta=True, options=DISTILLED, note=_FEW,
    ),
)  # fmt: skip
