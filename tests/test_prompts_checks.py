"""How long prompts are to a pipeline, and what it cannot do with them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

import tiny
from worker.diffusion.prompts import encode, excess, needs_encoding, refusal, token_count, truncated, windows
from worker.renderer import Recipe

# diffusers hands numpy tensors in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny.build_tiny(tmp_path_factory.mktemp("checks") / "sd")
    return StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True)


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny.build_tiny_xl(tmp_path_factory.mktemp("checks") / "xl")
    return StableDiffusionXLPipeline.from_pretrained(folder, use_safetensors=True, add_watermarker=False)


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    """T5's scheme, a token a word: an end sign and no start sign, and no limit of its own."""
    inner = Tokenizer(WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    inner.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def t5() -> T5EncoderModel:
    torch.manual_seed(0)
    return T5EncoderModel(T5Config(vocab_size=3, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))


@pytest.fixture(scope="module")
def flux(sd: Any, words: PreTrainedTokenizerFast, t5: T5EncoderModel) -> Any:
    return FluxPipeline(
        scheduler=None, vae=None, transformer=None, text_encoder=sd.text_encoder, tokenizer=sd.tokenizer,
        text_encoder_2=t5, tokenizer_2=words,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sd3(xl: Any, words: PreTrainedTokenizerFast, t5: T5EncoderModel) -> Any:
    return StableDiffusion3Pipeline(
        scheduler=None, vae=None, transformer=None, text_encoder=xl.text_encoder_2, tokenizer=xl.tokenizer,
        text_encoder_2=xl.text_encoder_2, tokenizer_2=xl.tokenizer_2, text_encoder_3=t5, tokenizer_3=words,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "cut"),
    [
        pytest.param({"prompt": "a " * 75}, None, id="fits"),
        pytest.param({"prompt": "a " * 76}, (76, 75), id="one too many"),
        pytest.param({"prompt": "a", "negative_prompt": "a " * 90}, (90, 75), id="negative"),
        pytest.param({"prompt": "a " * 80, "negative_prompt": "a " * 90}, (90, 75), id="the worst"),
        pytest.param({"prompt": "a", "prompt_2": "a " * 80}, {"xl": (80, 75)}, id="prompt_2"),
        pytest.param({"prompt": "a " * 99, "long_prompts": "truncate"}, (99, 75), id="to be cut"),
        pytest.param({"prompt": "a " * 99, "long_prompts": "chunk"}, None, id="chunked"),
        pytest.param({"prompt": "(a:1.2) " * 75, "weighting": "a1111"}, None, id="syntax is no token"),
        pytest.param({"prompt": "(a:1.2) " * 76, "weighting": "a1111"}, (76, 75), id="weighted"),
        pytest.param({"prompt": "(a) " * 30, "weighting": "none"}, (90, 75), id="brackets are text"),
        pytest.param({}, None, id="no prompt"),
    ],
)
@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_clip_reads_seventy_five_tokens(request: pytest.FixtureRequest, kind: str, recipe: Recipe, cut: Any) -> None:
    pipe = request.getfixturevalue(kind)
    wanted = cut.get(kind) if isinstance(cut, dict) else cut

    assert excess(pipe, recipe) == wanted
    assert truncated(pipe, recipe) is (wanted is not None)


@pytest.mark.parametrize(
    ("recipe", "flux_cut", "sd3_cut"),
    [
        pytest.param({"prompt": "a " * 255}, None, None, id="T5 sees what CLIP does not"),
        pytest.param({"prompt": "a " * 256}, None, (256, 255), id="default of SD 3"),
        pytest.param({"prompt": "a " * 512}, (512, 511), (512, 255), id="default of Flux"),
        pytest.param({"prompt": "a " * 100, "max_sequence_length": 100}, (100, 99), (100, 99), id="recipe's limit"),
        pytest.param({"prompt": "a " * 99, "max_sequence_length": 100}, None, None, id="within recipe's limit"),
        pytest.param({"prompt": "a " * 99, "prompt_2": "a"}, (99, 75), None, id="what only CLIP of Flux reads"),
        pytest.param({"prompt": "a " * 99, "prompt_3": "a"}, None, (99, 75), id="what only CLIP of SD 3 reads"),
        pytest.param({"prompt": "a", "negative_prompt": "a " * 300}, None, (300, 255), id="negative"),
    ],
)
def test_a_text_is_cut_where_no_encoder_takes_all_of_it(
    flux: Any, sd3: Any, recipe: Recipe, flux_cut: tuple[int, int] | None, sd3_cut: tuple[int, int] | None
) -> None:
    assert excess(flux, recipe) == flux_cut
    assert excess(sd3, recipe) == sd3_cut


def test_stable_diffusion_3_without_t5_is_cut_where_clip_is(sd3: Any, xl: Any) -> None:
    small = StableDiffusion3Pipeline(**{**sd3.components, "text_encoder_3": None})

    assert excess(small, {"prompt": "a " * 99}) == (99, 75)


def test_tokens_are_counted_without_signs(sd: Any, flux: Any) -> None:
    assert token_count(sd, "a red fox") == 3
    assert token_count(sd, "") == 0
    assert token_count(flux, "a, b") == 3  # CLIP's; T5's are two
    assert token_count(object(), "a") == 0


@pytest.mark.parametrize(
    ("recipe", "key", "reason"),
    [
        pytest.param({"prompt": "a BREAK b", "weighting": "a1111"}, "prompt", "long_prompts: chunk", id="break"),
        pytest.param(
            {"prompt": "a", "negative_prompt": "a BREAK b", "weighting": "a1111"}, "negative_prompt", "BREAK",
            id="break in the negative",
        ),
        pytest.param({"prompt": "a", "clip_skip": 99}, "clip_skip", "at most", id="more layers than there are"),
    ],
)  # fmt: skip
def test_what_an_encoder_cannot_do_is_refused(sd: Any, recipe: Recipe, key: str, reason: str) -> None:
    refused = refusal(sd, recipe)

    assert refused is not None
    assert refused[0] == key
    assert reason in refused[1]


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param({"prompt": "a BREAK b", "weighting": "a1111", "long_prompts": "chunk"}, id="break"),
        pytest.param({"prompt": "a BREAK b"}, id="break is text"),
        pytest.param({}, id="no prompt"),
    ],
)
def test_what_an_encoder_can_do_is_not_refused(sd: Any, recipe: Recipe) -> None:
    assert refusal(sd, recipe) is None


def test_as_many_layers_can_be_skipped_as_there_are(sd: Any, xl: Any) -> None:
    for pipe, most in (
        (sd, sd.text_encoder.config.num_hidden_layers),
        (xl, xl.text_encoder.config.num_hidden_layers - 1),
    ):
        encode(pipe, [{"prompt": "a", "clip_skip": most}])

        assert refusal(pipe, {"prompt": "a", "clip_skip": most}) is None
        assert refusal(pipe, {"prompt": "a", "clip_skip": most + 1}) is not None


def test_other_families_refuse_windows_and_weights(flux: Any, sd3: Any) -> None:
    for pipe in (flux, sd3):
        chunked, weighted = ({"prompt": "a", **wish} for wish in ({"long_prompts": "chunk"}, {"weighting": "a1111"}))

        assert (refusal(pipe, chunked) or "")[0] == "long_prompts"
        assert (refusal(pipe, weighted) or "")[0] == "weighting"
        assert refusal(pipe, {"prompt": "a", "long_prompts": "truncate", "weighting": "none"}) is None
        assert not needs_encoding(weighted, pipe)
        assert windows(chunked, pipe) == 1


def test_a_pipeline_without_text_has_nothing_to_cut_or_encode(tmp_path: Path) -> None:
    recipe = {"mode": "unconditional"}

    assert excess(object(), recipe) is None
    assert refusal(object(), recipe) is None
    assert not needs_encoding(recipe, object())
