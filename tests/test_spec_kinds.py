# a table of cases reads best with one case a line
"""What a value of a recipe key may look like: every spelling has one stored form, every refusal a sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidSpec
from storage.spec import JobFile, canonical
from storage.spec.fields import FIELDS, check_value
from storage.spec.file.values import checked

SHA = "sha256:" + "0a" * 32
SPELLINGS = [
    pytest.param("loras", "./ink", [{"model": "./ink", "scale": 1.0}], id="one LoRA by name"),
    pytest.param("loras", {"model": "./ink", "scale": 2}, [{"model": "./ink", "scale": 2.0}], id="one LoRA in full"),
    pytest.param("loras", ["a", {"model": "b", "scale": -0.5}],
                 [{"model": "a", "scale": 1.0}, {"model": "b", "scale": -0.5}], id="two LoRAs"),
    pytest.param("loras", [], [], id="no LoRA"),
    pytest.param("embeddings", {"model": "toy", "token": "<toy>"}, [{"model": "toy", "token": "<toy>"}], id="token"),
    pytest.param("cfg_cutoff", 1, {"ratio": 1.0}, id="cutoff as a number"),
    pytest.param("cfg_cutoff", {"ratio": 0.5}, {"ratio": 0.5}, id="cutoff as a ratio"),
    pytest.param("cfg_cutoff", {"step": 12}, {"step": 12}, id="cutoff at a step"),
    pytest.param("dynamic_guidance", [[0, 7], [0.5, 3]], [[0.0, 7.0], [0.5, 3.0]], id="guidance in pieces"),
    pytest.param("callbacks", "notify", [{"name": "notify", "options": {}}], id="callback by name"),
    pytest.param("callbacks", [{"name": "notify", "options": {"every": 5}}],
                 [{"name": "notify", "options": {"every": 5}}], id="callback with options"),
    pytest.param("scheduler", "Euler a", {"name": "euler_a", "options": {}}, id="scheduler by another tool's name"),
    pytest.param("scheduler", {"name": "ddim", "steps_offset": 1}, {"name": "ddim", "options": {"steps_offset": 1}},
                 id="scheduler with options"),
    pytest.param("refiner_scheduler", "ddim", {"name": "ddim", "options": {}}, id="the refiner's scheduler"),
    pytest.param("guidance_scale", 3, 3.0, id="whole number as a number"),
    pytest.param("controlnet_conditioning_scale", -0.0, 0.0, id="no minus zero"),
    pytest.param("original_size", [1024, 768], [1024, 768], id="size"),
    pytest.param("crops_coords_top_left", [0, 0], [0, 0], id="crop from the corner"),
    pytest.param("timesteps", [999, 500, 0], [999, 500, 0], id="timesteps"),
    pytest.param("sigmas", [14, 3.5, 0], [14.0, 3.5, 0.0], id="sigmas"),
    pytest.param("init_image", SHA, SHA, id="picture by its hash"),
    pytest.param("watermark", True, True, id="switch"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "written", "stored"), SPELLINGS)
def test_every_spelling_has_one_stored_form(key: str, written: Any, stored: Any) -> None:
    once = check_value(key, written, path=key)

    assert canonical(once) == canonical(stored)
    assert canonical(check_value(key, once, path=key)) == canonical(stored)


REFUSALS = [
    ("loras", [{"model": "a", "scael": 1}], "has an unknown key 'scael'; known: model, scale"),
    ("loras", [3], "must be a name, or {model: ..., scale: ...}"),
    ("loras", [{"scale": 1}], "must be a name, or {model: ..., scale: ...}"),
    ("loras", [{"model": "a", "scale": 11}], "scale must be a number from -10 to 10"),
    ("loras", [{"model": "a", "scale": "1"}], "scale must be a number from -10 to 10"),
    ("loras", ["a", "a"], "must not name a model twice"),
    ("loras", [str(number) for number in range(17)], "must be at most 16"),
    ("embeddings", "toy", "token must be the word that stands for it in prompts, such as <toy>"),
    ("embeddings", {"model": "toy", "token": "a toy"}, "token must be the word that stands for it in prompts"),
    ("cfg_cutoff", "half", "must be a ratio such as 0.6, or {ratio: 0.6}, or {step: 12}"),
    ("cfg_cutoff", True, "must be a ratio such as 0.6, or {ratio: 0.6}, or {step: 12}"),
    ("cfg_cutoff", {"ratio": 0.5, "step": 1}, "must be a ratio such as 0.6"),
    ("cfg_cutoff", 1.5, "ratio must be a number from 0 to 1"),
    ("cfg_cutoff", {"step": -1}, "step must be a whole number from 0 to 999"),
    ("dynamic_guidance", [], "must be pairs [from_ratio, scale], such as [[0, 7.5], [0.5, 3]]"),
    ("dynamic_guidance", [[0, 7, 1]], "must be pairs [from_ratio, scale]"),
    ("dynamic_guidance", [[0.5, 7], [0.5, 3]], "ratios must rise, from 0 to 1"),
    ("dynamic_guidance", [[0, 700]], "scales must be in [1, 100]"),
    ("callbacks", [{"name": "a", "options": [1]}], "options must be a mapping of names to values"),
    ("callbacks", [{"name": "a", "options": {"x": [1]}}], "options must be numbers, texts, true, false or null"),
    ("callbacks", [{"name": "a", "options": {"x": float("inf")}}], "options must be finite"),
    ("callbacks", [{"name": "a", "options": {"x": 2**63}}], "options must be finite, and whole numbers in"),
    ("callbacks", [{"name": "a", "options": {"x": "a\0"}}], "must not hold a NUL character"),
    ("guidance_scale", 10**400, "must be a finite number"),
    ("loras", [{"model": "a", "scale": 10**400}], "scale must be a number from -10 to 10"),
    ("cfg_cutoff", 10**400, "ratio must be a number from 0 to 1"),
    ("timesteps", [2**31], "must be below 2147483648"),
    ("original_size", [1024], "must be two whole numbers, [height, width]"),
    ("original_size", [1024, 0], "must be two numbers from 1 to 65536, [height, width]"),
    ("crops_coords_top_left", [-1, 0], "must be two numbers from 0 to 65536, [top, left]"),
    ("timesteps", [1, 2], "must fall from each entry to the next"),
    ("timesteps", [], "must not be empty"),
    ("sigmas", [1, 1], "must fall from each entry to the next"),
    ("strength", 0, "must be above 0"),
    ("strength", 1.1, "must be at most 1"),
    ("guidance_scale", float("nan"), "must be a finite number"),
    ("mask_blur", 1.5, "must be a whole number"),
    ("watermark", 1, "must be true or false"),
    ("resize", "zoom", "must be 'crop', 'pad' or 'stretch'"),
    ("long_prompts", "cut", "must be 'refuse', 'truncate' or 'chunk'"),
    ("vae", "", "must not be empty"),
]


@pytest.mark.parametrize(("key", "written", "sentence"), REFUSALS, ids=[f"{key} {rule}" for key, _, rule in REFUSALS])
def test_a_value_that_breaks_a_rule_is_refused_with_the_rule(key: str, written: Any, sentence: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        checked(key, written, path=key)

    assert str(caught.value).startswith(key)
    assert sentence in str(caught.value)


_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(
        st.sampled_from(["model", "scale", "token", "ratio", "step", "name", "options", "x"]), deeper, max_size=3
    ),
    max_leaves=6,
)  # fmt: skip


@given(key=st.sampled_from(sorted(FIELDS)), value=_junk)
def test_whatever_is_taken_is_plain_json_and_stays_itself(key: str, value: Any) -> None:
    try:
        once = checked(key, value, path=key)
    except InvalidSpec:
        return

    assert canonical(checked(key, once, path=key)) == canonical(once)


def test_every_key_stands_in_the_published_schema_with_its_note() -> None:
    known = JobFile.model_json_schema()["properties"]

    assert {key: known[key].get("description") for key in FIELDS} == {key: field.note for key, field in FIELDS.items()}
