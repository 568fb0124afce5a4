"""Scorers: what they give, against plain transformers; what they refuse, before any picture."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPProcessor, CLIPVisionModelWithProjection, ViTForImageClassification
from transformers import ViTImageProcessorPil as Eye

from storage.errors import ModelMissing, ModelUnusable
from storage.settings import Settings
from tiny.scorers import (
    build_tiny_aesthetic,
    build_tiny_clip,
    build_tiny_laion,
    build_tiny_predictor,
    build_tiny_safety,
)
from worker.scoring import Scorers, ScoringFailed, measure
from worker.scoring.safety import place_of_label

PROMPT = "a red fox"
Build = Callable[..., Path]


@pytest.fixture
def scorers(tmp_path: Path) -> Scorers:
    return Scorers(Settings(home=tmp_path / "home"), None)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scorers")
    built = {
        "clip": build_tiny_clip, "aesthetic": build_tiny_aesthetic, "safety": build_tiny_safety,
        "laion": build_tiny_laion, "predictor": build_tiny_predictor,
    }  # fmt: skip
    return {name: build(folder / name) for name, build in built.items()}


def picture(place: int = 0, *, side: int = 64) -> Image.Image:
    drawn = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    pen = ImageDraw.Draw(drawn)
    pen.ellipse((4 * place, 2 * place, side // 2 + 4 * place, side - 4), fill=(250, 40 * place % 256, 10))
    return drawn


def score(scorers: Scorers, folder: Path, kind: str, *, prompt: str = PROMPT, place: int = 0, **more: Any) -> float:
    found = scorers.resolve(str(folder), kind=kind)
    ready = scorers.load(found.digest, kind=kind, **more)
    return measure(picture(place), {"prompt": prompt}, scorers={kind: ready}).scores[kind]


def test_clip_gives_the_cosine_of_picture_and_prompt(scorers: Scorers, models: dict[str, Path]) -> None:
    net: Any = CLIPModel.from_pretrained(models["clip"])
    processor: Any = CLIPProcessor.from_pretrained(models["clip"])
    with torch.inference_mode():
        whole = net(**processor(text=[PROMPT], images=[picture()], return_tensors="pt"))
        plain = float((whole.logits_per_image / net.logit_scale.exp())[0, 0])

    assert score(scorers, models["clip"], "clip") == pytest.approx(plain, abs=2e-6)
    assert -1 <= plain <= 1


def test_clip_reads_what_it_can_of_a_long_prompt(scorers: Scorers, models: dict[str, Path]) -> None:
    begun = "red fox " * 60

    given = [score(scorers, models["clip"], "clip", prompt=f"{begun}{end}") for end in ("", "in the snow")]

    assert given[0] == given[1]
    assert given[0] != score(scorers, models["clip"], "clip")


def test_weights_of_words_are_not_read_as_words(scorers: Scorers, models: dict[str, Path]) -> None:
    found = scorers.resolve(str(models["clip"]), kind="clip")
    ready = {"clip": scorers.load(found.digest, kind="clip")}

    def clip(prompt: str, **recipe: str) -> float:
        return measure(picture(), {"prompt": prompt, **recipe}, scorers=ready).scores["clip"]

    assert clip("a (red:1.3) fox", weighting="a1111") == clip(PROMPT)
    assert clip("a (red:1.3) fox") != clip(PROMPT)


def test_safety_gives_the_probability_of_a_label(scorers: Scorers, models: dict[str, Path]) -> None:
    net: Any = ViTForImageClassification.from_pretrained(models["safety"])
    eye: Any = Eye.from_pretrained(models["safety"])
    with torch.inference_mode():
        odds = net(**eye(picture(), return_tensors="pt")).logits.softmax(-1)[0]

    silent, named = (
        score(scorers, models["safety"], "safety"),
        score(scorers, models["safety"], "safety", label="normal"),
    )

    assert silent == pytest.approx(float(odds[1]), abs=2e-6)
    assert named == pytest.approx(float(odds[0]), abs=2e-6)


def test_labels_that_exclude_each_other_not_have_probabilities_of_their_own(
    scorers: Scorers, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = build_tiny_safety(tmp_path / "each")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": "multi_label_classification"}))

    both = sum(score(scorers, folder, "safety", label=label) for label in ("normal", "nsfw"))

    assert both != pytest.approx(1, abs=1e-3)
    assert score(scorers, folder, "safety") != score(scorers, models["safety"], "safety")


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        pytest.param({0: "normal", 1: "nsfw"}, 1, id="plain"),
        pytest.param({0: "Not NSFW", 1: "NSFW"}, 1, id="denied first"),
        pytest.param({0: "non_porn", 1: "hentai", 2: "porn"}, 2, id="several"),
        pytest.param({1: "unsafe", 0: "safe"}, 1, id="unsafe"),
    ],
)
def test_the_label_that_counts_is_found(labels: dict[int, str], place: int) -> None:
    assert place_of_label(labels, None, source="x") == place


def test_an_aesthetic_classifier_gives_its_one_output(scorers: Scorers, models: dict[str, Path]) -> None:
    net: Any = ViTForImageClassification.from_pretrained(models["aesthetic"])
    eye: Any = Eye.from_pretrained(models["aesthetic"])
    with torch.inference_mode():
        plain = float(net(**eye(picture(), return_tensors="pt")).logits[0, 0])

    assert score(scorers, models["aesthetic"], "aesthetic") == pytest.approx(plain, abs=2e-6)


def test_a_head_reads_the_embedding_of_length_one(scorers: Scorers, models: dict[str, Path]) -> None:
    net: Any = CLIPVisionModelWithProjection.from_pretrained(models["laion"])
    eye: Any = CLIPProcessor.from_pretrained(models["clip"]).image_processor
    head = load_file(models["laion"] / "head.safetensors")
    with torch.inference_mode():
        seen = net(**eye(picture(), return_tensors="pt")).image_embeds
        seen = seen / seen.norm()
        for layer in ("layers.0", "layers.2"):
            seen = seen @ head[f"{layer}.weight"].T + head[f"{layer}.bias"]

    beside, within = (score(scorers, models[name], "aesthetic") for name in ("laion", "predictor"))

    assert beside == within == pytest.approx(float(seen[0, 0]), abs=2e-6)


def test_one_clip_serves_two_kinds_where_a_head_lies_beside_it(
    scorers: Scorers, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = build_tiny_clip(tmp_path / "both")
    save_file({"weight": torch.ones(1, 32), "bias": torch.zeros(1)}, folder / "head.safetensors")

    assert score(scorers, folder, "clip") == score(scorers, models["clip"], "clip")
    assert scorers.resolve(str(folder), kind="clip").digest == scorers.resolve(str(models["clip"]), kind="clip").digest
    assert abs(score(scorers, folder, "aesthetic")) < 32**0.5


def test_scores_depend_on_neither_threads_nor_company(scorers: Scorers, models: dict[str, Path]) -> None:
    ready = {}
    for kind in ("clip", "aesthetic", "safety"):
        ready[kind] = scorers.load(scorers.resolve(str(models[kind]), kind=kind).digest, kind=kind)
    recipes = [{"prompt": f"a red fox {'very ' * place}"} for place in range(12)]

    def scored(place: int) -> dict[str, float]:
        return measure(picture(place), recipes[place], scorers=ready).scores

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(scored, range(12)))

    assert together == [scored(place) for place in range(12)]
    assert len({scores["clip"] for scores in together}) == 12
    assert all(round(value, 6) == value for scores in together for value in scores.values())


def test_the_threads_of_the_device_stay_what_they_are(scorers: Scorers, models: dict[str, Path]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(score, scorers, models["clip"], "clip").result()
            beside = pool.submit(torch.get_num_threads).result()

        assert (beside, torch.get_num_threads()) == (1, 3)
    finally:
        torch.set_num_threads(before)


def test_kernels_that_a_plan_forbids_pipelines_are_not_missed(scorers: Scorers, models: dict[str, Path]) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    plain = score(scorers, models["clip"], "clip")
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        assert score(scorers, models["clip"], "clip") == plain


def test_a_scorer_is_loaded_once(scorers: Scorers, models: dict[str, Path]) -> None:
    digest = scorers.resolve(str(models["safety"]), kind="safety").digest

    assert scorers.load(digest, kind="safety") is scorers.load(digest, kind="safety")
    assert scorers.load(digest, kind="safety", label="normal") is not scorers.load(digest, kind="safety")
    with pytest.raises(ModelMissing, match="not resolved on this worker"):
        scorers.load("sha256:" + "0" * 64, kind="safety")


def test_a_scorer_that_breaks_or_gives_no_number_is_named(models: dict[str, Path]) -> None:
    class Broken:
        def __init__(self, outcome: float | Exception) -> None:
            self._outcome = outcome

        def score(self, picture: Image.Image, prompt: str) -> float:
            if isinstance(self._outcome, Exception):
                raise self._outcome
            return self._outcome

    for outcome, said in (
        (RuntimeError("no"), "scorer clip: RuntimeError: no"),
        (float("nan"), "scorer clip: gave nan"),
    ):
        with pytest.raises(ScoringFailed) as caught:
            measure(picture(), {"prompt": "a"}, scorers={"clip": Broken(outcome)})
        assert str(caught.value).startswith(said)


def unlabelled(folder: Path) -> None:
    build_tiny_safety(folder, labels=("cat", "dog"))


def headless(folder: Path) -> None:
    build_tiny_safety(folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("classifier.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def wide_head(folder: Path) -> None:
    build_tiny_laion(folder)
    save_file({"weight": torch.ones(2, 32)}, folder / "head.safetensors")


def other_head(folder: Path) -> None:
    build_tiny_laion(folder)
    save_file({"weight": torch.ones(1, 768)}, folder / "head.safetensors")


def blind(folder: Path) -> None:
    build_tiny_safety(folder)
    (folder / "preprocessor_config.json").unlink()


def foreign(folder: Path) -> None:
    """Code that comes with a model."""
    build_tiny_safety(folder)
    config = json.loads((folder / "config.json").read_text())
    own = {"auto_map": {"AutoModelForImageClassification": "own.Own", "AutoConfig": "own.Own"}, "model_type": "own"}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    (folder / "own.py").write_text("raise SystemExit('code of a model was run')")


UNUSABLE = [
    pytest.param(unlabelled, "safety", "no label of it says nsfw, unsafe or porn; name one with label: cat, dog", id="labels"),  # noqa: E501
    pytest.param(headless, "safety", "its weights lack classifier.weight", id="weights"),
    pytest.param(wide_head, "aesthetic", "its head ends in 2 outputs, and must end in one", id="outputs"),
    pytest.param(other_head, "aesthetic", "takes 32 numbers from the layer before", id="shape"),
    pytest.param(blind, "safety", "transformers cannot load it", id="processor"),
    pytest.param(foreign, "safety", "transformers cannot load it", id="code"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "kind", "complaint"), UNUSABLE)
def test_what_cannot_be_loaded_says_why(
    scorers: Scorers, tmp_path: Path, build: Build, kind: str, complaint: str
) -> None:
    build(tmp_path / "model")
    found = scorers.resolve(str(tmp_path / "model"), kind=kind)

    with pytest.raises(ModelUnusable) as caught:
        scorers.load(found.digest, kind=kind)

    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_label_that_a_model_has_not_is_refused_with_the_nearest(scorers: Scorers, models: dict[str, Path]) -> None:
    found = scorers.resolve(str(models["safety"]), kind="safety")

    with pytest.raises(ModelUnusable, match="has no label 'nsfv'; did you mean 'nsfw'"):
        scorers.load(found.digest, kind="safety", label="nsfv")
