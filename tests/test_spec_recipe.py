"""From what a job says to a recipe: silence leaves no key, and what does nothing changes no hash."""

from pathlib import Path
from typing import Any

import pytest

from spec_files import FACTS, frozen
from storage.spec import Job, ModelFacts, batch_key, digest
from storage.spec.fields import FIELDS
from storage.spec.labels import short_values
from storage.spec.recipe import models_of, recipe_of


def facts(letter: str, kind: str, **more: Any) -> ModelFacts:
    return ModelFacts(digest="sha256:" + letter * 64, family="other", kind=kind, **more)


PARTS = {
    "lora:ink": "3", "lora:line": "4", "embedding:toy": "5", "vae:ft": "6", "controlnet:edges": "7",
    "ip_adapter:ref": "8", "safety_checker:base": "2",
}  # fmt: skip
MODELS = {
    "base": ModelFacts(digest="sha256:" + "0" * 64, family="F", width=512, height=768, guidance_scale=5.0),
    "fine": facts("1", "checkpoint", width=64, height=64),
    **{key: facts(letter, key.partition(":")[0]) for key, letter in PARTS.items()},
}
PLAIN = {
    "schema": 2, "mode": "text-to-image", "model": "sha256:" + "0" * 64, "prompt": "a fox", "seed": 0, "steps": 30,
    "guidance_scale": 5.0, "width": 512, "height": 768,
}  # fmt: skip
SILENT = {name: None if field.default is ... else field.default for name, field in FIELDS.items()}


def recipe(mode: str = "text-to-image", **values: Any) -> dict[str, Any]:
    said = {**SILENT, "model": "base", "prompt": "a fox", **values}
    return recipe_of(mode, said, MODELS)


def test_a_key_that_is_not_set_is_absent() -> None:
    assert recipe() == PLAIN


IDLE = [
    pytest.param({"lora_scale": 0.5}, id="factor without LoRAs"),
    pytest.param({"loras": []}, id="no LoRAs"),
    pytest.param({"controlnet_conditioning_scale": 0.5, "control_guidance_end": 0.5}, id="weight without ControlNet"),
    pytest.param({"ip_adapter_scale": 0.5}, id="weight without IP-Adapter"),
    pytest.param({"ip_adapter": "ref"}, id="IP-Adapter without a picture"),
    pytest.param({"refiner_start": 0.8, "refiner_prompt": "x", "aesthetic_score": 6.0}, id="refining without refiner"),
    pytest.param({"resize": "pad"}, id="fitting no picture"),
    pytest.param({"mask_invert": False, "mask_blur": 0, "clip_skip": 0, "watermark": False}, id="nothing, spelled out"),
    pytest.param({"long_prompts": "refuse", "weighting": "none", "safety_checker": "off"}, id="defaults, spelled out"),
    pytest.param({"guidance_scale": 5.0, "width": 512, "height": 768}, id="the model's own, spelled out"),
]


@pytest.mark.parametrize("values", IDLE)
def test_an_idle_key_changes_no_hash(values: dict[str, Any]) -> None:
    assert digest(recipe(**values)) == digest(recipe())


def test_a_models_own_guidance_is_the_default_and_may_be_none() -> None:
    assert recipe(model="fine").get("guidance_scale") is None
    assert "guidance_scale" not in recipe(model="fine")
    assert recipe(guidance_scale=0.0)["guidance_scale"] == 0.0


def test_the_factor_of_all_loras_is_folded_into_their_scales() -> None:
    loras = [{"model": "ink", "scale": 0.8}, {"model": "line", "scale": -1.0}]

    made = recipe(loras=loras, lora_scale=0.5)

    assert made["loras"] == [
        {"model": MODELS["lora:ink"].digest, "scale": 0.4},
        {"model": MODELS["lora:line"].digest, "scale": -0.5},
    ]
    assert "lora_scale" not in made
    assert digest(made) == digest(recipe(loras=[{**entry, "scale": entry["scale"] * 0.5} for entry in loras]))


def test_a_rich_recipe_keeps_its_hash_for_ever() -> None:
    """If it changes, every catalog written before loses its images: raise RECIPE_SCHEMA instead."""
    made = recipe(
        loras=[{"model": "ink", "scale": 0.8}], lora_scale=0.5, clip_skip=2, cfg_cutoff={"ratio": 0.5},
        controlnet="edges", control_image="sha256:c",
    )  # fmt: skip

    assert digest(made)[:16] == "ce03570808069da1"


@pytest.mark.parametrize("key", ["timesteps", "sigmas"])
def test_an_own_schedule_says_how_many_steps_there_are(key: str) -> None:
    assert recipe(**{key: [9, 5, 1]})["steps"] == 3


def test_every_model_stands_by_its_digest() -> None:
    made = recipe(
        vae="ft", controlnet="edges", control_image="sha256:c", ip_adapter="ref", ip_adapter_image="sha256:i",
        refiner="fine", refiner_start=0.8, safety_checker="flag", embeddings=[{"model": "toy", "token": "<toy>"}],
    )  # fmt: skip

    assert {key: made[key] for key in ("vae", "controlnet", "ip_adapter", "refiner", "safety_checker")} == {
        "vae": MODELS["vae:ft"].digest, "controlnet": MODELS["controlnet:edges"].digest,
        "ip_adapter": MODELS["ip_adapter:ref"].digest, "refiner": MODELS["fine"].digest,
        "safety_checker": MODELS["safety_checker:base"].digest,
    }  # fmt: skip
    assert made["embeddings"] == [{"model": MODELS["embedding:toy"].digest, "token": "<toy>"}]
    assert made["resize"] == "crop"


def test_the_models_of_an_image_are_named_base_first() -> None:
    values = {
        "model": "base", "loras": [{"model": "ink", "scale": 1.0}, {"model": "line", "scale": 1.0}], "refiner": "fine",
        "vae": None, "safety_checker": "flag",
    }  # fmt: skip

    assert list(models_of(values)) == [
        ("checkpoint", "base"), ("checkpoint", "fine"), ("lora", "ink"), ("lora", "line"), ("safety_checker", "base"),
    ]  # fmt: skip


def test_an_unconditional_recipe_has_no_prompt() -> None:
    made = recipe("unconditional", prompt=None)

    assert made["mode"] == "unconditional"
    assert "prompt" not in made


def test_images_share_a_call_whatever_their_prompts_and_pictures_say() -> None:
    one = recipe("image-to-image", init_image="sha256:a", seed=1, prompt="a")
    other = recipe("image-to-image", init_image="sha256:b", seed=2, prompt="b")

    assert batch_key(one) == batch_key(other)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"negative_prompt": ""}, id="an empty negative prompt beside none"),
        pytest.param({"eta": 0.0}, id="eta"),
        pytest.param({"vae": "ft"}, id="VAE"),
        pytest.param({"clip_skip": 1}, id="clip skip"),
    ],
)
def test_images_that_a_call_cannot_mix_do_not_share_one(values: dict[str, Any]) -> None:
    assert batch_key(recipe(**values)) != batch_key(recipe())


def test_short_values_hold_every_axis_and_what_decides_something(tmp_path: Path) -> None:
    for name in ("ink", "ft"):
        (tmp_path / name).mkdir()
    axes = {"loras": [[], "./ink", {"model": "./ink", "scale": 0.5}], "clip_skip": [0, 1]}
    job = Job(frozen(tmp_path, axes=axes, vae="./ft", refiner_scheduler=None, scheduler="Euler a"))

    said = [short_values(job.spec, place) for place in job if place is not None]

    assert [entry["loras"] for entry in said] == ["none", "none", "ink", "ink", "ink:0.5", "ink:0.5"]
    assert [entry["clip_skip"] for entry in said] == [0, 1] * 3
    assert {key: said[0][key] for key in said[0] if key not in ("loras", "clip_skip")} == {
        "model": "./m", "vae": "./ft", "scheduler": "euler_a", "steps": 30, "prompt": "a fox", "seed": 0,
    }  # fmt: skip


def test_a_silent_scheduler_is_the_models_own(tmp_path: Path) -> None:
    job = Job(frozen(tmp_path))
    place = job[0]
    assert place is not None

    assert short_values(job.spec, place)["scheduler"] == "own"
    assert "scheduler" not in job.recipe(place, {"./m": FACTS})
