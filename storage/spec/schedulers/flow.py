"""Schedulers of models of rectified flow: Stable Diffusion 3, Flux, Qwen-Image, Z-Image.

The solvers of diffusion models work here with a schedule of their own, so they have names of their own: a name says
all that decides the picture. DEIS and SASolver are missing, since diffusers ends their flow schedules before the
noise does; so is `stochastic_sampling` of the Euler scheduler, which is flow_lcm bit for bit.
"""

from storage.spec.schedulers.kind import SchedulerKind as Kind
from storage.spec.schedulers.options import SDE, SIGMAS, THRESHOLD

_MULTI, _EULER = "DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler"
_shift = frozenset({"use_dynamic_shifting", "time_shift_type"})
_match = SIGMAS | _shift | {"shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"}
_match = _match | {"shift_terminal"}
_solver = _shift | THRESHOLD | {"flow_shift", "solver_order", "solver_type", "lower_order_final"}
_multi = _solver | {"euler_at_final"}
_FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
_STIFF = "not where the shift depends on the size, as on Flux dev"

FLOW = (
    Kind(name="flow_euler", diffusers_class=_EULER, models="flow", options=_match),
    Kind(
        name="flow_euler_karras", diffusers_class=_EULER, models="flow", preset={"use_karras_sigmas": True},
        options=_match,
    ),
    Kind(
        name="flow_euler_beta", diffusers_class=_EULER, models="flow", preset={"use_beta_sigmas": True},
        options=_match, needs="scipy",
    ),
    Kind(
        name="flow_heun", diffusers_class="FlowMatchHeunDiscreteScheduler", models="flow", calls="two",
        options=frozenset({"shift"}), note=_STIFF,
    ),
    Kind(
        name="flow_lcm", diffusers_class="FlowMatchLCMScheduler", models="flow", stochastic=True, options=_match,
        note="for distilled models, 2 to 8 steps",
    ),
    Kind(name="flow_dpmpp_2m", diffusers_class=_MULTI, models="flow", preset=_FLOW, options=_multi),
    Kind(
        name="flow_dpmpp_2m_sde", diffusers_class=_MULTI, models="flow", stochastic=True, preset={**_FLOW, **SDE},
        options=_multi,
    ),
    Kind(
        name="flow_dpmpp_2s", diffusers_class="DPMSolverSinglestepScheduler", models="flow", preset=_FLOW,
        options=_solver,
    ),
    Kind(
        name="flow_unipc", diffusers_class="UniPCMultistepScheduler", models="flow", preset=_FLOW,
        options=_solver | {"predict_x0", "disable_corrector", "shift_terminal"},
    ),
)  # fmt: skip
