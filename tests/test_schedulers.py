"""The table of schedulers: true of the installed diffusers, and every entry ends where a known model says."""

import importlib.util
import inspect
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from scheduler_bench import FLOWS, MODELS, draw, known_answer, load
from storage.errors import InvalidSpec, OptionRefused
from storage.spec.schedulers import SCHEDULERS, SchedulerKind, check_options, check_steps, find_scheduler, sampling_of
from worker.diffusion.calling.sampling import misfit, new_scheduler, rehearse

# diffusers hands numpy tensors in a way that numpy deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),
]
KINDS = [pytest.param(kind, id=kind.name) for kind in SCHEDULERS.values()]
# These are for models that were taught to jump; on one that was not, they lose some of the spread.
DISTILLED = {"lcm", "tcd", "flow_lcm"}
AUTO = [*diffusers.pipelines.auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()]


def wanted(kind: SchedulerKind, **options: Any) -> dict[str, Any]:
    return {"class": kind.diffusers_class, "options": {**kind.preset, **options}}


def test_every_class_and_option_is_one_of_diffusers() -> None:
    wrong = {}
    for kind in SCHEDULERS.values():
        parameters = inspect.signature(getattr(diffusers, kind.diffusers_class).__init__).parameters
        if unknown := (kind.options | set(kind.preset)) - set(parameters):
            wrong[kind.name] = sorted(unknown)

    assert wrong == {}


def test_eta_and_noise_are_as_the_steps_of_diffusers_have_them() -> None:
    for kind in SCHEDULERS.values():
        step = inspect.signature(getattr(diffusers, kind.diffusers_class).step).parameters
        assert kind.takes_eta == ("eta" in step), kind.name
        assert not kind.stochastic or "generator" in step or kind.needs == "torchsde", kind.name


def test_every_name_means_one_scheduler() -> None:
    names = Counter(
        name for kind in SCHEDULERS.values() for name in {each.casefold() for each in (kind.name, *kind.aliases)}
    )

    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_is_found_by_any_of_its_names(kind: SchedulerKind) -> None:
    assert all(find_scheduler(each.swapcase()) is kind for each in (kind.name, *kind.aliases))


def test_no_two_names_are_the_same_settings() -> None:
    settings = Counter((kind.diffusers_class, str(sorted(kind.preset.items()))) for kind in SCHEDULERS.values())

    assert max(settings.values()) == 1


def test_an_unknown_scheduler_names_the_nearest() -> None:
    with pytest.raises(InvalidSpec, match="did you mean 'dpmpp_2m'"):
        find_scheduler("dpmp_2m")


@pytest.mark.parametrize("name", ["DPM fast", "DPM adaptive", "Restart", "DPM++ 2S a Karras", "DPM++ 3M SDE"])
def test_a_name_that_others_have_and_diffusers_has_not_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InvalidSpec, match=r"cannot be drawn: .*(diffusers|number)"):
        find_scheduler(name)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        pytest.param("ddim", {"etta": 1}, "etta", id="unknown"),
        pytest.param("dpmpp_2m_karras", {"use_beta_sigmas": True}, "two spacings", id="two spacings"),
        pytest.param("dpmpp_2m_sde", {"solver_order": 3}, "solver_order", id="third order with noise"),
        pytest.param("dpmpp_2m", {"use_flow_sigmas": True}, "use_flow_sigmas", id="flow by the back door"),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        check_options(SCHEDULERS[name], options, path="scheduler")


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_called_as_often_as_the_table_says(
    kind: SchedulerKind, tiny_models: Callable[[str], Path]
) -> None:
    pipe = load(tiny_models("sd3" if kind.models == "flow" else "sd"))
    net = pipe.transformer if kind.models == "flow" else pipe.unet
    calls: list[int] = []
    hook = net.register_forward_hook(lambda *_: calls.append(1))

    counted = {}
    for steps in (1, 2, 5):
        samples = draw(pipe, kind, [1], steps=steps)
        counted[steps] = len(calls)
        calls.clear()
    hook.remove()

    assert counted == {steps: kind.model_calls(steps) for steps in counted}
    assert bool(torch.isfinite(samples).all())


def test_pndm_with_its_long_start_calls_more_often(tiny_models: Callable[[str], Path]) -> None:
    kind, pipe, calls = SCHEDULERS["pndm"], load(tiny_models("sd")), list[int]()
    hook = pipe.unet.register_forward_hook(lambda *_: calls.append(1))

    draw(pipe, kind, [1], steps=8, skip_prk_steps=False)
    hook.remove()

    assert len(calls) == kind.model_calls(8, {"skip_prk_steps": False})


@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_ends_in_the_pictures_that_a_known_model_describes(kind: SchedulerKind) -> None:
    """The model is exact: its pictures are Gaussian, so what an exact solution makes of a noise is known."""
    answer = known_answer(kind, steps=50)

    assert answer.mean == pytest.approx(answer.true_mean, abs=0.03)
    if kind.name in DISTILLED:
        assert 0.3 < answer.spread <= answer.true_spread
    elif kind.stochastic:
        assert answer.spread == pytest.approx(answer.true_spread, rel=0.14)
    else:
        assert answer.error < 0.1 * answer.true_spread


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULERS.values() if kind.models == "flow"], ids=lambda k: k.name)
@pytest.mark.parametrize("model", FLOWS)
def test_a_flow_scheduler_draws_on_every_flow_model_or_says_why_not(
    kind: SchedulerKind, model: str, tiny_models: Callable[[str], Path]
) -> None:
    pipe = load(tiny_models(model))
    scheduler = new_scheduler(pipe.scheduler, wanted(kind), [0])
    problem = misfit(pipe.scheduler, scheduler)

    if problem is None:
        assert bool(torch.isfinite(draw(pipe, kind, [1, 2], steps=2)).all())
    else:
        assert (kind.name, pipe.scheduler.config.use_dynamic_shifting) == ("flow_heun", True), problem


@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_of_the_other_training_does_not_fit(kind: SchedulerKind) -> None:
    patterns = [diffusers.DDIMScheduler(), diffusers.FlowMatchEulerDiscreteScheduler()]

    said = [misfit(pattern, new_scheduler(pattern, wanted(kind), [0])) for pattern in patterns]

    assert [problem is None for problem in said] == [kind.models == "diffusion", kind.models == "flow"]


def test_a_name_means_the_same_whatever_the_model_was_saved_with() -> None:
    plain = diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction")
    odd = diffusers.DPMSolverMultistepScheduler(
        beta_schedule="scaled_linear", prediction_type="v_prediction", use_karras_sigmas=True, solver_order=3,
        algorithm_type="sde-dpmsolver++",
    )  # fmt: skip

    built = [new_scheduler(pattern, wanted(SCHEDULERS["dpmpp_2m"]), [0]).config for pattern in (plain, odd)]

    for option in ("use_karras_sigmas", "solver_order", "algorithm_type", "prediction_type", "beta_schedule"):
        assert built[0][option] == built[1][option], option


def test_an_option_counts_although_the_models_scheduler_is_of_that_class() -> None:
    pattern = diffusers.FlowMatchEulerDiscreteScheduler()

    assert new_scheduler(pattern, wanted(SCHEDULERS["flow_euler_karras"]), [0]).config.use_karras_sigmas


def test_the_shift_of_a_flow_model_goes_along_to_every_scheduler() -> None:
    match = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    solver = diffusers.DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
    )

    assert new_scheduler(match, wanted(SCHEDULERS["flow_unipc"]), [0]).config.flow_shift == 3.0
    assert new_scheduler(solver, wanted(SCHEDULERS["flow_euler"]), [0]).config.shift == 3.0


def test_latents_are_not_clipped_where_the_model_says_nothing() -> None:
    pattern = diffusers.DPMSolverMultistepScheduler()

    assert not new_scheduler(pattern, wanted(SCHEDULERS["ddim"]), [0]).config.clip_sample
    assert new_scheduler(diffusers.DDPMScheduler(), wanted(SCHEDULERS["ddim"]), [0]).config.clip_sample


def test_steps_that_a_scheduler_cannot_take_are_refused() -> None:
    kind = SCHEDULERS["lcm"]
    scheduler = new_scheduler(diffusers.DDIMScheduler(), wanted(kind), [0])

    assert check_steps(kind, {}, 50) is None
    assert "at most 50" in str(check_steps(kind, {}, 51))
    with pytest.raises(OptionRefused, match="steps = 51"):
        rehearse(scheduler, {"num_inference_steps": 51})


@pytest.mark.parametrize("pipeline", AUTO, ids=lambda one: one.__name__)
def test_how_a_pipeline_samples_is_told_by_its_class(pipeline: Any) -> None:
    hint = str(inspect.signature(pipeline.__init__).parameters.get("scheduler"))

    assert (sampling_of(pipeline.__name__) == "flow") == ("FlowMatch" in hint or "Sana" in pipeline.__name__)


def test_needs_are_packages_that_are_installed_for_tests() -> None:
    needs = {kind.needs for kind in SCHEDULERS.values()} | {SCHEDULERS["euler"].needs_with({"use_beta_sigmas": True})}

    assert needs == {None, "scipy", "torchsde"}
    assert all(importlib.util.find_spec(name) for name in needs if name)


def test_models_cover_both_trainings() -> None:
    assert {kind.models for kind in SCHEDULERS.values()} == set(MODELS)
