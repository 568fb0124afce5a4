"""What the renderer promises beside the pixels: guards against overflow, parts left as they were, stops, previews."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from renderer_bench import (
    CHECKED,
    CONTROL,
    HALF,
    I2I,
    IP,
    LONG,
    LORA,
    MARKS,
    PLAN,
    REFINER,
    T2I,
    TOY,
    TOY_XL,
    Bench,
    Each,
    Models,
    Watch,
    dtypes_of,
    installed,
    job,
    pipes_of,
    pixels_of,
    reasons,
    rows,
    same,
    state_of,
)
from storage.errors import ModelUnusable, OptionRefused
from storage.spec.fields import INPAINT
from worker.renderer import Picture

pytestmark = MARKS


@pytest.fixture(scope="module")
def bench(tiny_models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        installed(patch, tmp_path_factory.mktemp("site"))
        yield Bench(tiny_models, tmp_path_factory.mktemp("home"), callbacks="fade, flood")


@pytest.fixture(scope="module")
def damaged(tiny_models: Models, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Models by the name of what is wrong with them."""
    root = tmp_path_factory.mktemp("damaged")

    def models(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            shutil.copytree(tiny_models("sd"), folder)
            if name == "nan":
                tiny.spoil(folder)
            else:
                loud(folder / name / "diffusion_pytorch_model.safetensors")
        return folder

    torch.set_num_threads(1)
    return Bench(models, tmp_path_factory.mktemp("home"))


def loud(file: Path) -> None:
    """Make what the first layer gives too large for half precision; a norm further on brings it back."""
    weights = load_file(file)
    first = [name for name in weights if name.removeprefix("decoder.").startswith("conv_in")]
    save_file({**weights, **{name: weights[name] * 3e5 for name in first}}, file, metadata={"format": "pt"})


@pytest.mark.parametrize("plan", [PLAN, HALF], ids=["float32", "float16"])
def test_a_picture_of_nan_is_a_flaw_and_no_picture(damaged: Bench, plan: Any) -> None:
    made = damaged.draw(rows(job(model="nan"), 2), plan=plan)

    assert reasons(made) == ["non_finite", "non_finite"]


@pytest.mark.parametrize("part", ["vae", "unet"])
def test_what_overflows_in_half_precision_is_drawn_in_float32(damaged: Bench, part: str) -> None:
    damaged.load(rows(job(model=part), 1)[0], plan=HALF)
    before = state_of(damaged)

    made = damaged.draw(rows(job(model=part), 2), plan=HALF)

    assert reasons(made) == ["picture", "picture"]
    assert same(before, state_of(damaged))
    assert {tensor.dtype for tensor in before.values() if isinstance(tensor, torch.Tensor)} >= {torch.float16}
    assert len({pixels_of(one) for one in made}) == 2


def test_an_image_that_overflows_changes_no_other(bench: Bench) -> None:
    flood = {"callbacks": [{"name": "flood", "options": {"factor": 1e6}}]}
    calm = bench.draw(rows(job(), 2), plan=HALF)

    made = bench.draw(rows(job(**flood), 2), plan=HALF, watch=Watch(every=1))

    assert pixels_of(made[0]) == pixels_of(calm[0])
    assert reasons(made) == ["picture", "picture"]
    assert pixels_of(made[1]) != pixels_of(calm[1])


def test_an_image_that_cannot_be_saved_takes_no_other_with_it(bench: Bench) -> None:
    flood = {"callbacks": [{"name": "flood", "options": {"factor": float(2**62) ** 2}}]}
    calm = bench.draw(rows(job(), 2))

    made = bench.draw(rows(job(**flood, steps=3), 2), watch=Watch(every=1))

    assert reasons(made) == ["picture", "non_finite"]
    assert pixels_of(made[0]) == pixels_of(calm[0])


def test_what_a_checker_finds_is_black_and_marked(bench: Bench) -> None:
    marked = bench.draw(rows(job(model=CHECKED, safety_checker="flag"), 2))
    free = bench.draw(rows(job(model=CHECKED), 2))

    assert all(isinstance(one, Picture) and one.flags == {"nsfw"} and not one.image.getbbox() for one in marked)
    assert all(isinstance(one, Picture) and not one.flags and one.image.getbbox() for one in free)


@pytest.mark.parametrize(("model", "text"), [("sd", LONG), ("sdxl", LONG), ("z_image", "a red fox " * 300)])
def test_a_long_prompt_is_refused_marked_or_read_to_its_end(bench: Bench, model: str, text: str) -> None:
    both = Each(text, "a blue owl")

    refused = bench.draw(rows(job(model=model, prompt=both), 2))
    cut = bench.draw(rows(job(model=model, prompt=both, long_prompts="truncate"), 2))

    assert reasons(refused) == ["long_prompt", "picture"]
    assert [one.flags for one in cut if isinstance(one, Picture)] == [{"truncated"}, frozenset()]
    assert pixels_of(cut[1]) == pixels_of(refused[1])
    if model != "z_image":
        whole = bench.draw(rows(job(model=model, prompt=both, long_prompts="chunk"), 2))
        assert [one.flags for one in whole if isinstance(one, Picture)] == [frozenset(), frozenset()]
        assert pixels_of(whole[0]) != pixels_of(cut[0])


@pytest.mark.parametrize(
    "given", [
        pytest.param(LORA, id="LoRA"), pytest.param(TOY, id="embedding"), pytest.param(TOY_XL, id="two embeddings"),
        pytest.param(IP, id="IP-Adapter"), pytest.param({**LORA, **TOY, **IP}, id="all"),
        pytest.param({"loras": [{"model": "lora_xl"}], **REFINER, "refiner_strength": 0.5}, id="LoRA before a refiner"),
    ],
)  # fmt: skip
def test_adapters_come_off_again_to_the_last_bit(bench: Bench, given: dict[str, Any]) -> None:
    model = given.get("model", "sd")
    before = bench.pixels(rows(job(model=model), 2))
    weights = state_of(bench)

    first = bench.pixels(rows(job(**given), 2))
    second = bench.pixels(rows(job(**given), 2))

    assert bench.pixels(rows(job(model=model), 2)) == before
    assert same(weights, state_of(bench))
    assert first == second
    assert first != before


@pytest.mark.parametrize(
    "given", [
        {"loras": [{"model": "lora"}, {"model": "lora_xl"}]}, {"model": "sdxl", "loras": [{"model": "lora"}]},
        {**LORA, "embeddings": [{"model": "embedding_xl", "token": "!"}]},
        {**TOY, "embeddings": [*TOY["embeddings"], {"model": "embedding_xl", "token": tiny.TOKEN}]},
        {"model": "sdxl", **IP},
    ], ids=["second LoRA", "LoRA", "token of the model's", "token given twice", "IP-Adapter"],
)  # fmt: skip
def test_an_adapter_that_does_not_fit_leaves_the_model_as_it_was(bench: Bench, given: dict[str, Any]) -> None:
    model = given.get("model", "sd")
    before = bench.pixels(rows(job(model=model), 2))
    weights = state_of(bench)

    with pytest.raises((ModelUnusable, OptionRefused)):
        bench.load(rows(job(**given), 1)[0])

    assert bench.pixels(rows(job(model=model), 2)) == before
    assert same(weights, state_of(bench))


def test_a_lora_of_the_base_leaves_the_refiner_alone(bench: Bench, tiny_models: Models, tmp_path: Path) -> None:
    from diffusers import StableDiffusionXLPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    text = StableDiffusionXLPipeline.from_pretrained(tiny_models("sdxl"), dtype=torch.float32).text_encoder_2
    text.add_adapter(LoraConfig(r=2, init_lora_weights="gaussian", target_modules=["q_proj", "v_proj"]))
    layers = {name: torch.randn_like(each) for name, each in get_peft_model_state_dict(text).items()}
    StableDiffusionXLPipeline.save_lora_weights(tmp_path, text_encoder_2_lora_layers=layers)
    bench.add("lora_te2", tmp_path / "pytorch_lora_weights.safetensors")
    dressed = {"loras": [{"model": "lora_te2"}]}
    refined = {**REFINER, "refiner_start": 0.5, "steps": 4}
    bench.load(rows(job(**refined, **dressed), 1)[0])
    base, refiner = pipes_of(bench)
    shared = base.text_encoder_2 is refiner.text_encoder_2

    from worker.diffusion.loading.adapters import without_loras

    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        on = refiner.text_encoder_2(ids).text_embeds
        with without_loras(refiner):
            off = refiner.text_encoder_2(ids).text_embeds
    with_it = bench.pixels(rows(job(**refined, **dressed), 2))
    bench.load(rows(job(**refined), 1)[0])
    with torch.inference_mode():
        bare = pipes_of(bench)[1].text_encoder_2(ids).text_embeds

    assert shared
    assert torch.equal(off, bare)
    assert not torch.equal(on, bare)
    assert with_it != bench.pixels(rows(job(**refined), 2))


def test_models_share_the_parts_that_are_equal(bench: Bench) -> None:
    bench.load(rows(job(**REFINER, refiner_start=0.5), 1)[0])
    base, refiner = pipes_of(bench)
    bench.load(rows(job(model="sd"), 1)[0])
    sd = pipes_of(bench)[0]
    bench.load(rows(job(model="sd_v"), 1)[0])
    sd_v = pipes_of(bench)[0]

    assert base.text_encoder_2 is refiner.text_encoder_2
    assert base.vae is refiner.vae
    assert base.unet is not refiner.unet
    assert (sd.vae, sd.unet, sd.text_encoder) == (sd_v.vae, sd_v.unet, sd_v.text_encoder)  # only the scheduler differs


def test_modes_share_one_set_of_weights(bench: Bench) -> None:
    bench.load(rows(job(), 1)[0])
    text = pipes_of(bench)[0]
    bench.load(rows(job(init_image="one", mask="mask", **CONTROL), 1)[0], mode=INPAINT)
    inpaint = pipes_of(bench)[0]

    assert type(text) is not type(inpaint)
    assert (text.vae, text.unet, text.text_encoder) == (inpaint.vae, inpaint.unet, inpaint.text_encoder)


@pytest.mark.parametrize("plan", [PLAN, HALF], ids=["float32", "float16"])
def test_nothing_is_cast_by_a_series_of_mixed_batches(bench: Bench, plan: Any) -> None:
    dtype = getattr(torch, plan.dtype)
    series: list[tuple[str, dict[str, Any]]] = [
        (T2I, {}), (T2I, {"vae": "vae"}), (I2I, {"init_image": "one", "strength": 0.5}),
        (T2I, CONTROL), (T2I, LORA), (T2I, IP),
        (INPAINT, {"init_image": "one", "mask": "mask", "vae": "vae"}), (T2I, {"model": "sdxl"}),
        (T2I, {**REFINER, "refiner_strength": 0.5}), (T2I, {"model": "sdxl", "vae": "vae"}),
        (T2I, {"model": "flux"}),
    ]  # fmt: skip
    parts: dict[int, torch.nn.Module] = {}
    loaded: dict[tuple[int, str], torch.dtype] = {}

    for mode, given in series:
        bench.load(rows(job(**given), 1)[0], mode=mode, plan=plan)
        found = {id(part): part for pipe in pipes_of(bench) for part in pipe.components.values()}
        new = {key: part for key, part in found.items() if isinstance(part, torch.nn.Module) and key not in parts}
        parts |= new
        loaded |= dtypes_of(new)
        assert reasons(bench.draw(rows(job(**given), 2), mode=mode, plan=plan)) == ["picture", "picture"]

    now = dtypes_of(parts)
    assert {key: now[key] for key in loaded if key in now} == loaded
    # transformers loads these layers of a T5 in float32, since they overflow.
    assert {each for (_, name), each in now.items() if not name.endswith("DenseReluDense.wo.weight")} == {dtype}


def test_the_least_recently_used_model_leaves_first(tiny_models: Models, tmp_path: Path) -> None:
    bench = Bench(tiny_models, tmp_path, resident=2)
    for model in ("sd", "ddpm", "sd", "flux"):
        given = {"prompt": None} if model == "ddpm" else {}
        mode = "unconditional" if model == "ddpm" else T2I
        bench.load(
            {key: each for key, each in rows(job(model=model, **given), 1)[0].items() if each is not None}, mode=mode
        )
    left = {bench.recipe(rows(job(model=model), 1)[0])["model"] for model in ("sd", "flux")}

    assert bench.renderer.resident() == sorted(left, key=bench.renderer.resident().index)
    assert len(bench.renderer.resident()) == 2


def test_a_refiner_does_not_drive_its_base_out(tiny_models: Models, tmp_path: Path) -> None:
    bench = Bench(tiny_models, tmp_path, resident=1)

    made = bench.draw(rows(job(**REFINER, refiner_start=0.5, steps=4), 2))

    assert reasons(made) == ["picture", "picture"]
    assert len(bench.renderer.resident()) == 2
