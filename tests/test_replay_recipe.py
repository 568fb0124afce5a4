"""A recipe alone is enough: what a job would say of it leads back to the same recipe."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import InvalidSpec
from storage.spec import ModelFacts, canonical
from storage.spec.fields import FIELDS, MODEL_KEYS, MODES, SCHEDULER_KEYS, check_value
from storage.spec.recipe import CHECKPOINT, SAFETY_CHECKER, model_key, recipe_of
from storage.spec.schedulers import SCHEDULERS
from storage.spec.unrecipe import check_recipe, digests_of, values_of

SILENT = {name: None if field.default is ... else field.default for name, field in FIELDS.items()}
NAMES = ("one", "two", "three")


def _facts(kind: str, name: str) -> ModelFacts:
    sizes: dict[str, Any] = {"width": 64, "height": 96, "guidance_scale": 5.0 if name != "two" else None}
    return ModelFacts(digest=f"sha256:{kind}/{name}", family="F", kind=kind, **(sizes if kind == CHECKPOINT else {}))


KINDS = sorted({str(FIELDS[key].refers) for key in MODEL_KEYS} | {SAFETY_CHECKER})
MODELS = {model_key(kind, name): _facts(kind, name) for kind in KINDS for name in NAMES}
BY_DIGEST = {facts.digest: facts.digest.rpartition("/")[2] for facts in MODELS.values()}

_hashes = st.sampled_from(["sha256:" + letter * 64 for letter in "ab"])
_name = st.sampled_from(NAMES)
_text = st.text("ab {}(:é\n", max_size=6)
_ratio = st.sampled_from([0, 0.25, 0.5, 1])
_scale = st.sampled_from([0, -0.0, 0.1, 0.7, -1.5, 10])
_whole = st.integers(1, 30)
_pair = st.lists(st.integers(1, 1024), min_size=2, max_size=2)


@st.composite
def _schedulers(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(SCHEDULERS.values(), key=lambda kind: kind.name)))
    options = draw(st.dictionaries(st.sampled_from(sorted(kind.options)), st.booleans() | st.integers(0, 3)))
    try:
        checked: Any = check_value("scheduler", {"name": kind.name, **options}, path="x")
        return {"name": kind.name, "options": checked["options"]}
    except InvalidSpec:  # options that exclude each other
        return {"name": kind.name, "options": {}}


_BY_KEY: dict[str, st.SearchStrategy[Any]] = {
    "loras": st.lists(st.fixed_dictionaries({"model": _name, "scale": _scale}), max_size=3,
                      unique_by=lambda entry: entry["model"]),
    "embeddings": st.lists(st.fixed_dictionaries({"model": _name, "token": st.just("<toy>")}), max_size=3,
                           unique_by=lambda entry: entry["model"]),
    "scheduler": _schedulers(), "refiner_scheduler": _schedulers(),
    "timesteps": st.just([9, 5, 1]), "sigmas": st.just([9, 5.5, 1]),
    "cfg_cutoff": st.sampled_from([0.5, {"step": 3}]), "dynamic_guidance": st.just([[0, 7.5], [0.5, 3]]),
    "callbacks": st.just([{"name": "x", "options": {"a": 1}}]),
    "safety_checker": st.sampled_from(["off", "flag"]), "weighting": st.sampled_from(["none", "a1111"]),
    "long_prompts": st.sampled_from(["refuse", "truncate", "chunk"]),
    "resize": st.sampled_from(["crop", "pad", "stretch"]),
    "width": st.sampled_from([8, 512]), "height": st.sampled_from([8, 512]),
    "seed": st.integers(0, 2**63 - 1), "steps": _whole, "refiner_steps": _whole, "clip_skip": st.integers(0, 3),
    "max_sequence_length": _whole, "mask_blur": st.integers(0, 3), "padding_mask_crop": st.integers(0, 9),
    "mask_invert": st.booleans(), "watermark": st.booleans(), "lora_scale": _scale,
    "controlnet_conditioning_scale": _scale, "ip_adapter_scale": _scale,
    "aesthetic_score": st.just(6), "negative_aesthetic_score": st.just(2.5),
    "strength": st.sampled_from([0.3, 1]), "refiner_strength": st.sampled_from([0.3, 1]),
    "guidance_scale": st.sampled_from([0, 1.5, 7.5]), "refiner_guidance_scale": st.just(4),
    "true_cfg_scale": st.just(4),
    **dict.fromkeys([key for key in FIELDS if key.endswith(("_size", "_left"))], _pair),
    **dict.fromkeys(["guidance_rescale", "eta", "control_guidance_start", "control_guidance_end", "ip_adapter_cutoff",
                     "refiner_start"], _ratio),
    **dict.fromkeys([key for key, field in FIELDS.items() if "prompt" in key and key != "long_prompts"], _text),
    **dict.fromkeys([key for key, field in FIELDS.items() if field.refers == "image"], _hashes),
    **dict.fromkeys([key for key in MODEL_KEYS if key not in ("loras", "embeddings")], _name),
}  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """A recipe of any mode, as a job file with any of its keys makes it."""
    mode = draw(st.sampled_from(MODES))
    values = dict(SILENT)
    for key, field in FIELDS.items():
        if mode in field.modes and (field.default is ... or draw(st.booleans())):
            given_value = draw(_BY_KEY[key])
            values[key] = given_value if key in SCHEDULER_KEYS else check_value(key, given_value, path=key)
    return recipe_of(mode, values, MODELS)


@settings(max_examples=60)
@given(recipe=recipes())
def test_the_recipe_of_what_a_recipe_says_is_that_recipe(recipe: Mapping[str, Any]) -> None:
    values = values_of(recipe, BY_DIGEST)

    assert set(values) == set(FIELDS)
    assert canonical(recipe_of(recipe["mode"], values, MODELS)) == canonical(dict(recipe))
    if all(abs(entry["scale"]) <= 10 for entry in recipe.get("loras", [])):  # two scales of one job, multiplied
        check_recipe(recipe)
    assert all(digest in BY_DIGEST for found in digests_of(recipe).values() for digest in found)


@pytest.mark.parametrize("kind", SCHEDULERS.values(), ids=lambda kind: kind.name)
def test_every_scheduler_comes_back_by_its_own_name(kind: Any) -> None:
    values = {**SILENT, "model": "one", "prompt": "a fox", "scheduler": {"name": kind.name, "options": {}}}

    said = values_of(recipe_of("text-to-image", values, MODELS), BY_DIGEST)

    assert said["scheduler"] == {"name": kind.name, "options": {}}


def test_a_preset_that_is_switched_off_stays_off() -> None:
    options = {"use_karras_sigmas": False}
    values = {**SILENT, "model": "one", "prompt": "a fox", "scheduler": {"name": "lms_karras", "options": options}}
    recipe = recipe_of("text-to-image", values, MODELS)

    assert recipe_of("text-to-image", values_of(recipe, BY_DIGEST), MODELS) == recipe


GOOD = recipe_of("text-to-image", {**SILENT, "model": "one", "prompt": "a fox"}, MODELS)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        pytest.param({"schema": 1}, "recipe.schema = 1: must be 2", id="older schema"),
        pytest.param({"mode": "video"}, "recipe.mode = 'video'", id="unknown mode"),
        pytest.param({"glow": 1}, "recipe.glow = 1: unknown key", id="key of a newer farm"),
        pytest.param({"scheduler": {"class": "X", "options": {}}}, "recipe.scheduler", id="unknown scheduler"),
        pytest.param({"scheduler": "ddim"}, "recipe.scheduler = 'ddim': is not as", id="scheduler of another form"),
        pytest.param({"loras": [1]}, "recipe.loras = [1]: is not as", id="LoRAs of another form"),
        pytest.param({"ip_adapter_cutoff": 0.5}, "as ip_adapter is not in the recipe", id="weight of nothing"),
        pytest.param({"steps": 0}, "recipe.steps = 0: must be at least 1", id="value beyond its bounds"),
        pytest.param({"prompt": None}, "recipe.prompt: missing", id="no prompt"),
    ],
)
def test_a_recipe_from_outside_that_no_farm_wrote_is_refused_by_its_key(change: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        check_recipe({**GOOD, **change})

    assert names in str(refused.value)
