"""Embeddings of prompts: diffusers' own where it can, and what it cannot."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

import tiny
from worker.diffusion.prompts import encode, needs_encoding, windows
from worker.renderer import Recipe

# diffusers hands numpy tensors in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
LONG = "a red fox, " * 30  # 120 tokens: two windows
WEIGHTED = {"weighting": "a1111", "prompt": "a (red:1.4) [fox]", "negative_prompt": "(dog)"}
CHUNKED = {"long_prompts": "chunk", "prompt": LONG}


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    folder = tiny.build_tiny(tmp_path_factory.mktemp("prompts") / "sd")
    pipe = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def xl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny.build_tiny_xl(tmp_path_factory.mktemp("prompts") / "xl")


@pytest.fixture(scope="module")
def xl(xl_folder: Path) -> Any:
    pipe = StableDiffusionXLPipeline.from_pretrained(xl_folder, use_safetensors=True, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def refiner(xl_folder: Path) -> Any:
    return StableDiffusionXLPipeline.from_pretrained(
        xl_folder, use_safetensors=True, add_watermarker=False, tokenizer=None, text_encoder=None,
        force_zeros_for_empty_prompt=False,
    )  # fmt: skip


def same(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and left.dtype == right.dtype and torch.equal(left, right)


@torch.inference_mode()
def own(pipe: Any, **arguments: Any) -> dict[str, Tensor]:
    """Diffusers' own embeddings."""
    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    made = pipe.encode_prompt(
        device=torch.device("cpu"), num_images_per_prompt=1, do_classifier_free_guidance=True, **arguments
    )
    return dict(zip(names, made, strict=False))


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param({"prompt": "a red fox"}, id="prompt"),
        pytest.param({"prompt": ""}, id="empty"),
        pytest.param({"prompt": "a red fox", "negative_prompt": ""}, id="empty negative"),
        pytest.param({"prompt": "a (red:1.3) fox", "negative_prompt": "a dog"}, id="brackets are text"),
        pytest.param({"prompt": LONG, "negative_prompt": LONG * 2}, id="cut"),
    ],
)
def test_without_wishes_embeddings_are_those_of_diffusers(sd: Any, recipe: Recipe) -> None:
    lists = {key: [text, "an owl"] for key, text in recipe.items()}

    made = encode(sd, [recipe, {**recipe, **dict.fromkeys(recipe, "an owl")}])

    wanted = own(sd, **lists)
    assert made.keys() == wanted.keys()
    assert all(same(made[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("clip_skip", [None, 0, 1])
@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param({"prompt": "a red fox"}, id="no negative"),
        pytest.param({"prompt": "a red fox", "negative_prompt": ""}, id="empty negative"),
        pytest.param({"prompt": "a red fox", "negative_prompt": "a dog"}, id="negative"),
        pytest.param({"prompt": "a red fox", "prompt_2": "an owl", "negative_prompt": "a dog"}, id="prompt_2"),
        pytest.param({"prompt": "a fox", "negative_prompt": "dog", "negative_prompt_2": "cat"}, id="negative_prompt_2"),
        pytest.param({"prompt": "a fox", "negative_prompt_2": "cat"}, id="negative_prompt_2 alone"),
        pytest.param({"prompt": LONG, "prompt_2": LONG * 2}, id="cut"),
    ],
)
@pytest.mark.parametrize("kind", ["xl", "refiner"])
def test_sdxl_embeddings_are_those_of_diffusers(
    request: pytest.FixtureRequest, kind: str, recipe: Recipe, clip_skip: int | None
) -> None:
    pipe = request.getfixturevalue(kind)
    skipping = {} if clip_skip is None else {"clip_skip": clip_skip}

    made = encode(pipe, [{**recipe, **skipping}])

    wanted = own(pipe, **recipe, **skipping)
    assert made.keys() == wanted.keys()
    assert all(same(made[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_a_picture_from_embeddings_is_the_one_from_text(request: pytest.FixtureRequest, kind: str) -> None:
    pipe = request.getfixturevalue(kind)
    recipes = [{"prompt": "a red fox"}, {"prompt": "an owl"}]
    call = {"num_inference_steps": 2, "height": tiny.SIDE, "width": tiny.SIDE, "output_type": "pt"}

    made = pipe(**encode(pipe, recipes), generator=torch.Generator().manual_seed(1), **call).images

    prompts = [recipe["prompt"] for recipe in recipes]
    assert same(made, pipe(prompts, generator=torch.Generator().manual_seed(1), **call).images)


def test_clip_skip_on_stable_diffusion_is_what_diffusers_documents(sd: Any) -> None:
    recipe = {"prompt": "a red fox", "negative_prompt": "a dog", "clip_skip": 1}

    made = encode(sd, [recipe])

    object.__setattr__(sd.text_encoder, "text_model", sd.text_encoder)  # the place where diffusers looks for the norm
    try:
        wanted = own(sd, **recipe)
    finally:
        object.__delattr__(sd.text_encoder, "text_model")
    assert all(same(made[key], wanted[key]) for key in wanted)
    assert not torch.equal(made["prompt_embeds"], encode(sd, [{**recipe, "clip_skip": 0}])["prompt_embeds"])


def test_diffusers_is_asked_wherever_it_can(sd: Any, xl: Any) -> None:
    plain = {"prompt": "a red fox"}

    assert not needs_encoding(plain, sd)
    assert not needs_encoding({**plain, "long_prompts": "chunk"}, sd)
    assert not needs_encoding({"prompt": LONG, "long_prompts": "truncate"}, sd)
    assert not needs_encoding({**plain, "clip_skip": 1}, xl)
    assert needs_encoding({**plain, "clip_skip": 0}, sd)
    assert needs_encoding({**plain, "weighting": "a1111"}, xl)
    assert needs_encoding(CHUNKED, xl)


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_windows_depend_on_one_recipe_alone(request: pytest.FixtureRequest, kind: str) -> None:
    pipe = request.getfixturevalue(kind)
    chunk = {"long_prompts": "chunk"}

    assert windows({"prompt": LONG}, pipe) == 1
    assert windows({**chunk, "prompt": "a fox"}, pipe) == 1
    assert windows({**chunk, "prompt": "a " * 75}, pipe) == 1
    assert windows({**chunk, "prompt": "a " * 76}, pipe) == 2
    assert windows({**chunk, "prompt": "a", "negative_prompt": "a " * 160}, pipe) == 3
    assert windows({**chunk, "prompt": "a", "prompt_2": "a " * 80}, pipe) == (2 if kind == "xl" else 1)
    assert windows({**chunk, "weighting": "a1111", "prompt": "a BREAK fox BREAK"}, pipe) == 2
    assert windows({**chunk, "weighting": "none", "prompt": "a BREAK fox BREAK"}, pipe) == 1
    with pytest.raises(ValueError, match=r"\[1, 2\] windows"):
        encode(pipe, [{**chunk, "prompt": "a"}, {**chunk, "prompt": LONG}])


def test_a_long_prompt_is_its_windows_in_a_row(xl: Any) -> None:
    first, second = " ".join(["a"] * 75), "red fox"

    made = encode(xl, [{**CHUNKED, "prompt": f"{first} {second}", "negative_prompt": "dog"}])

    one = encode(xl, [{"prompt": first, "negative_prompt": "dog"}])
    two = encode(xl, [{"prompt": second, "negative_prompt": ""}])
    for key in ("prompt_embeds", "negative_prompt_embeds"):
        assert same(made[key], torch.cat([one[key], two[key]], dim=1))
    for key in ("pooled_prompt_embeds", "negative_pooled_prompt_embeds"):
        assert same(made[key], one[key])


def test_break_starts_a_window(sd: Any) -> None:
    both = {**CHUNKED, "weighting": "a1111"}

    made = encode(sd, [{**both, "prompt": "a red BREAK fox"}])["prompt_embeds"]

    apart = [encode(sd, [{"prompt": text}])["prompt_embeds"] for text in ("a red", "fox")]
    assert same(made, torch.cat(apart, dim=1))


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_a_chunked_prompt_makes_a_picture(request: pytest.FixtureRequest, kind: str) -> None:
    pipe = request.getfixturevalue(kind)

    made = encode(pipe, [CHUNKED, {**CHUNKED, "negative_prompt": "a dog"}])

    images = pipe(**made, num_inference_steps=1, height=tiny.SIDE, width=tiny.SIDE, output_type="pt").images
    assert made["prompt_embeds"].shape[:2] == made["negative_prompt_embeds"].shape[:2] == (2, 2 * 77)
    assert images.shape[0] == 2
    assert images.isfinite().all()


def test_weights_scale_tokens_and_keep_the_mean(tmp_path: Path) -> None:
    pipe: Any = StableDiffusionPipeline.from_pretrained(tiny.build_tiny(tmp_path / "sd"), use_safetensors=True)
    torch.nn.init.constant_(pipe.text_encoder.final_layer_norm.bias, -0.2)  # untrained, the mean would be zero
    plain = encode(pipe, [{"prompt": "a red fox"}])["prompt_embeds"][0]

    made = encode(pipe, [{"weighting": "a1111", "prompt": "a (red:1.5) [fox]"}])["prompt_embeds"][0]

    weights = (made / plain).median(dim=-1).values  # one a token, times what restores the mean
    assert torch.allclose(made, plain * weights.unsqueeze(-1), rtol=1e-4)
    assert (weights / weights[0])[1:5].tolist() == pytest.approx([1, 1.5, 1 / 1.1, 1], rel=1e-4)
    assert weights[0] != 1
    assert made.mean().item() == pytest.approx(plain.mean().item(), rel=1e-4)


def test_a_mean_of_noise_is_not_restored(sd: Any) -> None:
    plain = encode(sd, [{"prompt": "a red fox"}])["prompt_embeds"][0]

    made = encode(sd, [{"weighting": "a1111", "prompt": "a (red:1.5) fox"}])["prompt_embeds"][0]

    weights = torch.ones(77, 1)
    weights[2] = 1.5
    assert same(made, plain * weights)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("a red fox", "a red fox", id="no syntax"),
        pytest.param("(a red:1.0) fox", "a red fox", id="written"),
        pytest.param(r"a \(red\) fox", "a (red) fox", id="escapes"),
    ],
)
def test_a_weight_of_one_changes_no_bit_even_beside_others(xl: Any, text: str, read: str) -> None:
    made = encode(xl, [{"weighting": "a1111", "prompt": text}, WEIGHTED])

    wanted = encode(xl, [{"prompt": read}, {"prompt": "an owl"}])
    assert same(made["prompt_embeds"][0], wanted["prompt_embeds"][0])


@pytest.mark.parametrize("kind", ["sd", "xl", "refiner"])
@pytest.mark.parametrize(
    "mine",
    [
        pytest.param({"prompt": "a red fox"}, id="plain"),
        pytest.param({"prompt": "a red fox", "negative_prompt": "a dog"}, id="negative"),
        pytest.param(WEIGHTED, id="weighted"),
        pytest.param({**CHUNKED, **WEIGHTED, "prompt": "a (red:1.4) fox, " * 30}, id="weighted and chunked"),
        pytest.param({"prompt": "a red fox", "clip_skip": 1}, id="clip skip"),
    ],
)
def test_embeddings_do_not_depend_on_slot_or_company(request: pytest.FixtureRequest, kind: str, mine: Recipe) -> None:
    pipe = request.getfixturevalue(kind)
    other = {**mine, "prompt": str(mine["prompt"]).replace("fox", "dog"), "negative_prompt": "(owl:3)"}
    silent = {key: value for key, value in other.items() if key != "negative_prompt"}

    first = encode(pipe, [mine, other, silent, other])
    last = encode(pipe, [silent, silent, other, mine])
    alone = encode(pipe, [mine] * 4)

    for key, wanted in alone.items():
        assert same(first[key][0], wanted[0])
        assert same(last[key][3], wanted[0])


def test_textual_inversions_are_spelt_out(tmp_path: Path) -> None:
    folder = tiny.build_tiny(tmp_path / "sd")
    pipe: Any = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    vectors = torch.randn((3, 32), generator=torch.Generator().manual_seed(1))
    pipe.load_textual_inversion({"<x>": vectors}, token="<x>")

    made = encode(pipe, [{"prompt": "a <x> fox"}])
    weighted = encode(pipe, [{"prompt": "a (<x>:1.0) fox", "weighting": "a1111"}])

    wanted = own(pipe, prompt="a <x> fox")
    assert same(made["prompt_embeds"], wanted["prompt_embeds"])
    assert same(weighted["prompt_embeds"], wanted["prompt_embeds"])
    assert windows({"prompt": "<x> " * 26, "long_prompts": "chunk"}, pipe) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half_and_equal(tmp_path: Path, dtype: torch.dtype) -> None:
    pipe: Any = StableDiffusionPipeline.from_pretrained(
        tiny.build_tiny(tmp_path / "sd"), use_safetensors=True, dtype=dtype
    )

    made = encode(pipe, [{"prompt": "a red fox"}])
    weighted = encode(pipe, [WEIGHTED])

    assert same(made["prompt_embeds"], own(pipe, prompt="a red fox")["prompt_embeds"])
    assert weighted["prompt_embeds"].dtype is dtype
