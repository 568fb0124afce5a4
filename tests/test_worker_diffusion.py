"""The real renderer on tiny random models: its pictures are those of a plain diffusers call, whatever the company."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

import tiny
from storage.errors import ModelMissing, ModelUnusable, OptionRefused
from storage.settings import Settings
from storage.spec.plan import Plan
from storage.spec.schedulers import SCHEDULERS
from storage.wire.messages import ChunkMessage, ModelEntry
from worker.diffusion import DiffusionRenderer
from worker.renderer import Flaw, Picture, Recipe, StopRendering
from worker_bench import Bench

# diffusers hands numpy tensors in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
PLAN = Plan(device_type="cpu", dtype="float32", batch=4, threads=1, tf32=False)
STEPS = 3


class Watch:
    """Counts steps; may stop, may want previews."""

    def __init__(self, *, stop_at: int | None = None, every: int | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self.frames: list[tuple[int, Image.Image]] = []
        self.preview_every = every
        self.previewer: str | None = None
        self._stop_at = stop_at

    def step(self, step: int, steps: int) -> None:
        self.steps.append((step, steps))
        if step == self._stop_at:
            raise StopRendering

    def preview(self, slot: int, picture: Image.Image) -> None:
        self.frames.append((slot, picture))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny.build_tiny(tmp_path_factory.mktemp("tiny") / "sd")


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> DiffusionRenderer:
    return DiffusionRenderer(Settings(home=tmp_path_factory.mktemp("home"), resident_pipelines=2))


@pytest.fixture(scope="module")
def entry(renderer: DiffusionRenderer, model: Path) -> ModelEntry:
    return renderer.resolve(str(model), kind="checkpoint")


def recipe(
    entry: ModelEntry, seed: int, *, prompt: str = "a red fox", scheduler: str = "ddim", negative: str | None = None
) -> Recipe:
    kind = SCHEDULERS[scheduler]
    return {
        "mode": "text-to-image", "model": entry.digest, "prompt": prompt, "seed": seed, "steps": STEPS,
        "guidance_scale": 5.0, "width": tiny.SIDE, "height": tiny.SIDE,
        "scheduler": {"class": kind.diffusers_class, "options": dict(kind.preset)},
        **({} if negative is None else {"negative_prompt": negative}),
    }  # fmt: skip


def render(
    renderer: DiffusionRenderer, recipes: Sequence[Recipe], watch: "Watch | None" = None
) -> list[Picture | Flaw]:
    renderer.load(recipes[0], plan=PLAN)
    return renderer.render(recipes, plan=PLAN, watch=watch or Watch(), images=no_image)


def no_image(name: str) -> Image.Image:
    raise AssertionError(name)


def pixels(renderer: DiffusionRenderer, recipes: Sequence[Recipe]) -> list[bytes]:
    return [pixels_of(one) for one in render(renderer, recipes)]


def test_a_model_is_described_by_its_files(entry: ModelEntry) -> None:
    assert (entry.family, entry.width, entry.height) == ("StableDiffusionPipeline", tiny.SIDE, tiny.SIDE)
    assert entry.digest.startswith("sha256:")


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpmpp_2m_sde", "pndm"])
def test_a_batch_is_bit_equal_to_a_plain_diffusers_call(
    renderer: DiffusionRenderer, entry: ModelEntry, model: Path, scheduler: str
) -> None:
    recipes = [
        recipe(entry, seed, scheduler=scheduler, prompt=f"a {word}") for seed, word in enumerate(tiny.WORDS[1:5])
    ]
    plain: Any = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32, use_safetensors=True)
    plain.set_progress_bar_config(disable=True)
    kind = SCHEDULERS[scheduler]
    plain.scheduler = getattr(diffusers, kind.diffusers_class).from_config(plain.scheduler.config, **kind.preset)
    wanted = plain(
        [one["prompt"] for one in recipes], num_inference_steps=STEPS, guidance_scale=5.0, height=32, width=32,
        generator=[torch.Generator().manual_seed(one["seed"]) for one in recipes],
    ).images  # fmt: skip

    assert pixels(renderer, recipes) == [image.tobytes() for image in wanted]


@pytest.mark.parametrize("scheduler", ["ddim", "heun", "dpmpp_sde", "unipc", "lcm"])
def test_an_image_does_not_depend_on_its_slot_or_its_company(
    renderer: DiffusionRenderer, entry: ModelEntry, scheduler: str
) -> None:
    mine = recipe(entry, 11, scheduler=scheduler)
    others = [recipe(entry, seed, scheduler=scheduler, prompt="a blue owl") for seed in (1, 2, 3)]

    first = pixels(renderer, [mine, *others])[0]
    last = pixels(renderer, [*others[::-1], mine])[-1]
    padded = pixels(renderer, [mine] * 4)

    assert first == last
    assert set(padded) == {first}


def test_the_models_own_scheduler_stays_as_it_was(renderer: DiffusionRenderer, entry: ModelEntry) -> None:
    before = pixels(renderer, [recipe(entry, 5)] * 4)
    pixels(renderer, [recipe(entry, 5, scheduler="dpmpp_2m_karras")] * 4)

    assert pixels(renderer, [recipe(entry, 5)] * 4) == before


def test_no_negative_prompt_is_an_empty_one_to_this_family(renderer: DiffusionRenderer, entry: ModelEntry) -> None:
    assert pixels(renderer, [recipe(entry, 5)] * 4) == pixels(renderer, [recipe(entry, 5, negative="")] * 4)
    assert pixels(renderer, [recipe(entry, 5)] * 4) != pixels(renderer, [recipe(entry, 5, negative="cat")] * 4)


def test_a_stop_leaves_between_two_steps_and_spoils_nothing(renderer: DiffusionRenderer, entry: ModelEntry) -> None:
    before = pixels(renderer, [recipe(entry, 5)] * 4)
    watch = Watch(stop_at=2)

    with pytest.raises(StopRendering):
        render(renderer, [recipe(entry, 5)] * 4, watch)

    assert watch.steps == [(1, STEPS), (2, STEPS)]
    assert pixels(renderer, [recipe(entry, 5)] * 4) == before


def test_previews_are_small_pictures_that_change_no_pixel(renderer: DiffusionRenderer, entry: ModelEntry) -> None:
    watch = Watch(every=2)
    made = render(renderer, [recipe(entry, 5)] * 4, watch)

    assert [slot for slot, _ in watch.frames] == [0, 1, 2, 3]
    assert {frame.size for _, frame in watch.frames} == {(tiny.SIDE // 2, tiny.SIDE // 2)}
    assert [pixels_of(one) for one in made] == pixels(renderer, [recipe(entry, 5)] * 4)


def test_a_picture_of_nan_is_a_flaw_and_no_picture(renderer: DiffusionRenderer, tmp_path: Path) -> None:
    folder = tiny.build_tiny(tmp_path / "nan", seed=3)
    tiny.spoil(folder)
    entry = renderer.resolve(str(folder), kind="checkpoint")

    made = render(renderer, [recipe(entry, 1)] * 4)

    assert {one.reason for one in made if isinstance(one, Flaw)} == {"non_finite"}
    assert len(made) == 4


def test_the_least_recently_used_pipeline_leaves_first(tmp_path: Path, model: Path) -> None:
    renderer = DiffusionRenderer(Settings(home=tmp_path / "home", resident_pipelines=1))
    other = tiny.build_tiny(tmp_path / "other", seed=1)
    digests = []
    for folder in (model, other):
        entry = renderer.resolve(str(folder), kind="checkpoint")
        digests.append(entry.digest)
        renderer.load(recipe(entry, 1), plan=PLAN)

    assert renderer.resident() == digests[1:]
    assert digests[0] != digests[1]


def test_what_cannot_be_a_model_is_refused_with_a_next_step(
    renderer: DiffusionRenderer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    pickled = tiny.build_tiny(tmp_path / "pickled")
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").rename(pickled / "unet" / "diffusion_pytorch_model.bin")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "model_index.json").write_text(json.dumps({"_class_name": "SomethingPipeline"}))

    with pytest.raises(ModelMissing, match="copy or mount it"):
        renderer.resolve(str(tmp_path / "nowhere"), kind="checkpoint")
    with pytest.raises(ModelUnusable, match="no model_index"):
        renderer.resolve(str(tmp_path / "empty"), kind="checkpoint")
    with pytest.raises(ModelUnusable, match="weights in unet"):
        renderer.resolve(str(pickled), kind="checkpoint")
    found = renderer.resolve(str(strange), kind="checkpoint")
    with pytest.raises(OptionRefused, match="no such pipeline for a SomethingPipeline"):
        renderer.load(recipe(found, 1), plan=PLAN)


def test_a_hub_model_without_a_hub_says_what_to_do(
    renderer: DiffusionRenderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ModelMissing, match="let the host reach"):
        renderer.resolve("owner/name@main", kind="checkpoint")


def test_to_sdxl_no_negative_prompt_is_not_an_empty_one(renderer: DiffusionRenderer, tmp_path: Path) -> None:
    folder = tiny.build_tiny_xl(tmp_path / "xl")
    entry = renderer.resolve(str(folder), kind="checkpoint")
    watch = Watch(every=1)

    silent = render(renderer, [recipe(entry, 1, scheduler="euler")] * 2, watch)
    empty = render(renderer, [recipe(entry, 1, scheduler="euler", negative="")] * 2, watch)

    assert (entry.family, entry.guidance_scale) == ("StableDiffusionXLPipeline", 5.0)
    assert len(watch.frames) == 2 * 2 * STEPS
    assert pixels_of(silent[0]) == pixels_of(silent[1]) != pixels_of(empty[0])


def pixels_of(made: Picture | Flaw) -> bytes:
    assert isinstance(made, Picture)
    return made.image.tobytes()


def test_a_chunk_of_a_real_model_is_stored_with_its_environment_and_previews(
    renderer: DiffusionRenderer, model: Path, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, renderer)
    message = bench.freeze(model=str(model), steps=STEPS, guidance_scale=5.0, previews={"every": 1})

    manifest = bench.run(message)
    wrong = bench.run(message.model_copy(update={"models": {str(model): other_digest(message, model)}}))

    assert [image.number for image in manifest.images] == list(range(6))
    assert all(image.preview for image in manifest.images)
    assert {"torch", "diffusers", "transformers", "python", "device", "cpu_capability", "platform"} <= set(
        manifest.environment
    )
    assert wrong.fatal is not None
    assert "bring those files back" in wrong.fatal


def other_digest(message: ChunkMessage, model: Path) -> ModelEntry:
    return message.models[str(model)].model_copy(update={"digest": "sha256:" + "0" * 64})


def test_a_tiny_vae_draws_the_previews_of_a_job_that_names_one(
    renderer: DiffusionRenderer, model: Path, tmp_path: Path
) -> None:
    tiny_vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1), latent_channels=4,
    )  # fmt: skip
    tiny_vae.save_pretrained(tmp_path / "taesd")
    bench = Bench(tmp_path, renderer)
    linear = bench.freeze(model=str(model), steps=STEPS, previews={"every": 1})
    plain = bench.run(linear)
    decoded = bench.run(bench.freeze(model=str(model), steps=STEPS, previews={"every": 1, "taesd": "taesd"}))

    assert [image.pixel_sha256 for image in decoded.images] == [image.pixel_sha256 for image in plain.images]
    with Image.open(io.BytesIO(bench.store.get(str(decoded.images[0].preview)))) as strip:
        assert strip.size == (STEPS * tiny.SIDE, tiny.SIDE)
    with Image.open(io.BytesIO(bench.store.get(str(plain.images[0].preview)))) as strip:
        assert strip.size == (STEPS * tiny.SIDE // 2, tiny.SIDE // 2)
