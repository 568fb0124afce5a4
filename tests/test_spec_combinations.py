# a table of cases reads best with one case a line
"""Rules between keys: what cannot be rendered together is refused before anything is queued, by every way to say it."""

from math import floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from spec_files import frozen
from storage.errors import InvalidSpec

FROM_IMAGE = {"mode": "image-to-image", "init_image": "a.png"}
CONTROLLED = {"controlnet": "./m", "control_image": "a.png"}
AT_ONCE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture that jobs may start from."""
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "a.png")
    return tmp_path


PARTNERS = [
    pytest.param({"strength": 0.5}, "strength = 0.5: has no place in mode text-to-image; only in image-to-image, "
                 "inpaint, depth-to-image", id="strength without a picture"),
    pytest.param({"axes": {"mask_blur": [1, 2]}}, "axes.mask_blur: has no place in mode text-to-image; only in inpaint",
                 id="axis of another mode"),
    pytest.param({"mode": "unconditional", "prompt": "a fox"}, "prompt = 'a fox': has no place in mode unconditional",
                 id="prompt where none is read"),
    pytest.param({"mode": "image-to-image"}, "init_image: missing; give it, or an axis axes.init_image", id="picture"),
    pytest.param({"mode": "inpaint", "init_image": "a.png"}, "mask: missing; give it", id="mask"),
    pytest.param({"controlnet_conditioning_scale": 0.5},
                 "controlnet_conditioning_scale: does nothing without controlnet; give both", id="weight of nothing"),
    pytest.param({"axes": {"lora_scale": [0, 1]}}, "lora_scale: does nothing without loras; give both", id="factor"),
    pytest.param({"ip_adapter": "./m"}, "ip_adapter: does nothing without ip_adapter_image; give both", id="reference"),
    pytest.param({"controlnet": "./m"}, "control_image: missing; a ControlNet follows a picture", id="ControlNet"),
    pytest.param({"refiner": "./m"}, "refiner: needs refiner_start (0.8: it does the last fifth) or refiner_strength",
                 id="refiner that is never asked"),
    pytest.param({"refiner_start": 0.8}, "refiner_start: does nothing without refiner; give both", id="no refiner"),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "message"), PARTNERS)
def test_a_key_without_its_partner_is_refused(folder: Path, entries: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        frozen(folder, **entries)

    assert str(caught.value).startswith(message)


BROKEN = [
    pytest.param({**FROM_IMAGE, "strength": 0.1, "steps": 5},
                 "strength = 0.1: of 5 steps leaves none to do; strength x steps must be at least 1", id="strength"),
    pytest.param({"eta": 0.5, "scheduler": "euler"},
                 "eta = 0.5: does nothing with scheduler euler; only with ddim, tcd", id="eta"),
    pytest.param({"timesteps": [900, 1], "sigmas": [2, 1]},
                 "timesteps = [900, 1]: and sigmas are two ways to say one thing; keep one", id="two schedules"),
    pytest.param({"cfg_cutoff": {"step": 20}, "steps": 20}, "cfg_cutoff = {'step': 20}: is past the last of 20 steps",
                 id="cutoff"),
    pytest.param({**CONTROLLED, "control_guidance_start": 0.5, "control_guidance_end": 0.5},
                 "control_guidance_start = 0.5: must be below control_guidance_end (0.5)", id="empty window"),
    pytest.param({**CONTROLLED, "axes": {"control_guidance_start": [0, 1]}},
                 "control_guidance_start = 1.0: must be below control_guidance_end", id="window past the end"),
    pytest.param({"refiner": "./m", "refiner_start": 0.8, "refiner_strength": 0.3},
                 "refiner_start = 0.8: and refiner_strength are two ways to refine; keep one", id="two ways to refine"),
    pytest.param({"refiner": "./m", "axes": {"refiner_start": [None, 0.8]}},
                 "refiner = './m': needs refiner_start or refiner_strength at every place", id="refiner that rests"),
    pytest.param({"refiner": "./m", "refiner_strength": 0.1, "refiner_steps": 5},
                 "refiner_strength = 0.1: of 5 steps leaves none to do", id="strength of the refiner"),
    pytest.param({"controlnet": "./m", "axes": {"control_image": ["a.png", None]}},
                 "controlnet = './m': has no control_image to follow at some places", id="places without a picture"),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "message"), BROKEN)
def test_keys_that_contradict_each_other_are_refused(folder: Path, entries: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        frozen(folder, **entries)

    assert str(caught.value).startswith(message)


@AT_ONCE
@given(
    strengths=st.lists(st.sampled_from([0.05, 0.1, 0.3, 0.5, 1.0]), min_size=1, max_size=3, unique=True),
    steps=st.lists(st.integers(1, 25), min_size=1, max_size=3, unique=True),
    zipped=st.booleans(),
)
def test_every_strength_must_leave_a_step_of_the_steps_it_meets(
    folder: Path, strengths: list[float], steps: list[int], zipped: bool
) -> None:
    count = min(len(strengths), len(steps)) if zipped else 0
    if zipped:
        entries: dict[str, Any] = {"zip": [{"strength": strengths[:count], "steps": steps[:count]}]}
        met = list(zip(strengths[:count], steps[:count], strict=True))
    else:
        entries = {"axes": {"strength": strengths, "steps": steps}}
        met = [(strength, number) for strength in strengths for number in steps]

    try:
        frozen(folder, **FROM_IMAGE, **entries)
        refused = ""
    except InvalidSpec as refusal:
        refused = str(refusal)

    assert bool(refused) == any(floor(strength * number) < 1 for strength, number in met)
    assert refused.startswith("strength = " if refused else "")


def test_what_is_excluded_need_not_fit(folder: Path) -> None:
    axes = {"strength": [0.1, 0.9], "steps": [5, 20]}

    spec = frozen(folder, **FROM_IMAGE, axes=axes, exclude=[{"strength": 0.1, "steps": 5}])

    assert len(spec.exclude) == 1


def test_what_is_excluded_for_one_seed_must_fit_for_the_others(folder: Path) -> None:
    axes = {"strength": [0.1, 0.9], "steps": [5, 20], "seed": [1, 2]}

    with pytest.raises(InvalidSpec, match="leaves none to do"):
        frozen(folder, **FROM_IMAGE, axes=axes, exclude=[{"strength": 0.1, "steps": 5, "seed": 1}])


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param({"eta": 0.5, "scheduler": "ddim"}, id="eta that acts"),
        pytest.param({"eta": 0.5}, id="eta with the model's own scheduler"),
        pytest.param({"axes": {"eta": [None, 0.5], "scheduler": ["ddim", "tcd"]}}, id="with and without eta"),
        pytest.param({"refiner": "./m", "refiner_start": 0.8, "steps": 20}, id="refiner"),
        pytest.param({"mode": "unconditional"}, id="no prompt"),
        pytest.param({**FROM_IMAGE, "axes": {"init_image": ["a.png"]}, "init_image": None}, id="picture as an axis"),
        pytest.param(
            {"controlnet": "./m", "axes": {"control_image": ["a.png", None]}, "exclude": [{"control_image": None}]},
            id="the place without a picture left out",
        ),
        pytest.param({"cfg_cutoff": {"step": 19}, "steps": 20}, id="the last step"),
    ],
)
def test_what_fits_together_is_taken(folder: Path, entries: dict[str, Any]) -> None:
    spec = frozen(folder, **entries)

    assert spec.models
