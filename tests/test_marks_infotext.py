"""The text of A1111, read back by a library that knows nothing of us, and by the grammar of its first reader."""

import io
import json
import re
from typing import Any

import pytest
from sd_parsers.data import PromptInfo

from marked_pictures import MODEL, ODD_PROMPTS, marks, picture
from others_reader import read_by_others
from storage.marks import Encoding, encode, infotext_of, read
from storage.spec.schedulers import SCHEDULERS

PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')  # modules/infotext_utils.py of A1111


def parsed(encoding: Encoding, **changes: Any) -> PromptInfo:
    """What sd-parsers finds in a file."""
    found = read_by_others(io.BytesIO(encode(picture(), encoding, marks=marks(**changes))))
    assert found is not None
    return found


def text(**changes: Any) -> str:
    said = infotext_of(marks(**changes))
    assert said is not None
    return said


def pairs(**changes: Any) -> dict[str, str]:
    """As A1111 reads the last line."""
    line = text(**changes).strip().split("\n")[-1].partition(", Hashes: ")[0]
    return {key: json.loads(value) if value[:1] == '"' else value for key, value in PAIR.findall(line)}


def expected(prompt: str) -> str:
    """What the text keeps of a prompt; docs/image-files.md says so."""
    plain = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", prompt.replace("\r\n", "\n").replace("\r", "\n"))
    return plain.replace("Negative prompt:", "Negative prompt :").strip()


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("prompt", ODD_PROMPTS.values(), ids=ODD_PROMPTS)
def test_an_independent_reader_finds_prompts_and_settings(name: str, prompt: str) -> None:
    (sampler,) = parsed(Encoding(name), prompt=prompt, negative_prompt=f"no {prompt}").samplers

    assert [each.value for each in sampler.prompts] == [said for said in [expected(prompt)] if said]
    assert [each.value for each in sampler.negative_prompts] == [expected(f"no {prompt}")]
    assert sampler.name == "Euler a"
    assert sampler.parameters == {"scheduler": "Uniform", "cfg_scale": "7.5", "seed": "7", "steps": "20"}
    assert sampler.model is not None
    assert sampler.model.hash == MODEL.removeprefix("sha256:")[:10]


def test_every_value_is_read_by_the_grammar_in_its_order() -> None:
    init = f"sha256:{'b2' * 32}"

    found = pairs(
        strength=0.6, clip_skip=1, vae=MODEL, init_image=init, mode="image-to-image", guidance_scale=7.0,
        loras=[{"model": MODEL, "scale": 1.0}, {"model": init, "scale": 0.5}],
    )  # fmt: skip

    version = found.pop("Version")
    assert version.startswith("Seedfarm ")
    assert list(found.items()) == [
        ("Steps", "20"), ("Sampler", "Euler a"), ("Schedule type", "Uniform"), ("CFG scale", "7"), ("Seed", "7"),
        ("Size", "64x48"), ("Model hash", "a1a1a1a1a1"), ("VAE hash", "a1a1a1a1a1"), ("Denoising strength", "0.6"),
        ("Clip skip", "2"), ("Init image hash", "b2b2b2b2b2"), ("RNG", "CPU"),
        ("Lora hashes", "lora_1: a1a1a1a1a1, lora_2: b2b2b2b2b2"),
    ]  # fmt: skip


def test_hashes_are_where_the_readers_of_civitai_look() -> None:
    said = text(vae=MODEL, loras=[{"model": MODEL, "scale": 1.0}], embeddings=[{"model": MODEL, "token": "<fox>"}])

    found = re.search(r", Hashes:\s*({[^}]+})", said)  # as their site and its tools do

    short = "a1a1a1a1a1"
    assert found is not None
    assert json.loads(found[1]) == {"model": short, "vae": short, "lora:lora_1": short, "embed:<fox>": short}


def test_a_token_that_would_end_the_hashes_is_left_out() -> None:
    said = text(embeddings=[{"model": MODEL, "token": "a}b"}])

    assert said.endswith('Hashes: {"model": "a1a1a1a1a1"}')


def test_a_recipe_of_few_words_has_three_pairs_all_the_same() -> None:
    bare = {"scheduler": None, "guidance_scale": None, "prompt": None, "negative_prompt": None}

    found = pairs(mode="unconditional", **bare)

    assert len(found) >= 3
    assert (found["Sampler"], "CFG scale" in found, "Clip skip" in found) == ("Model default", False, False)
    assert parsed(Encoding(), mode="unconditional", **bare).samplers[0].name == "Model default"


def test_every_scheduler_has_a_name_that_breaks_no_line() -> None:
    for kind in SCHEDULERS.values():
        found = pairs(scheduler={"class": kind.diffusers_class, "options": dict(kind.preset)})

        assert found["Sampler"]
        assert found["Seed"] == "7"


@pytest.mark.parametrize(
    ("name", "sampler", "schedule"),
    [
        pytest.param("ddim", "DDIM", None, id="ddim"),
        pytest.param("pndm", "PLMS", None, id="plms"),
        pytest.param("dpmpp_2m_karras", "DPM++ 2M", "Karras", id="2m karras"),
        pytest.param("dpmpp_2m_sde_exponential", "DPM++ 2M SDE", "Exponential", id="2m sde exponential"),
        pytest.param("dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun", "Uniform", id="2m sde heun"),
        pytest.param("dpmpp_sde_karras", "DPM++ SDE", "Karras", id="sde"),
        pytest.param("kdpm2_a", "DPM2 a", "Uniform", id="dpm2 a"),
        pytest.param("unipc", "UniPCMultistepScheduler", None, id="one that A1111 draws otherwise"),
        pytest.param("deis", "DEISMultistepScheduler", None, id="one that A1111 has not"),
        pytest.param("dpmpp_2s", "DPMSolverSinglestepScheduler", None, id="without an ancestral form"),
        pytest.param("flow_euler", "Euler", "Uniform", id="flow"),
        pytest.param("flow_dpmpp_2m", "DPMSolverMultistepScheduler", None, id="flow solver"),
    ],
)
def test_a_scheduler_goes_by_the_name_of_a1111_where_it_is_the_same(
    name: str, sampler: str, schedule: str | None
) -> None:
    kind = SCHEDULERS[name]

    found = pairs(scheduler={"class": kind.diffusers_class, "options": dict(kind.preset)})

    assert (found["Sampler"], found.get("Schedule type")) == (sampler, schedule)


def test_a_third_order_is_not_called_2m() -> None:
    options = {"solver_order": 3}

    assert pairs(scheduler={"class": "DPMSolverMultistepScheduler", "options": options})["Sampler"] != "DPM++ 2M"


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_we_read_what_we_wrote(name: str) -> None:
    data = encode(picture(), Encoding(name), marks=marks(prompt="a fox 🦊", negative_prompt="狗"))

    assert read(data).infotext == text(prompt="a fox 🦊", negative_prompt="狗")
