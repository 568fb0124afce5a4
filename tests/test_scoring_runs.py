"""Runs of jobs that measure their pictures: scores in the manifest, refusals before the first image."""

import io
import json
from pathlib import Path

import imagehash
import pytest
from PIL import Image

from storage.settings import Settings
from storage.wire.messages import MadeImage, Manifest
from tiny import build_tiny
from tiny.scorers import build_tiny_aesthetic, build_tiny_clip, build_tiny_safety
from worker.diffusion import DiffusionRenderer
from worker.scoring import Scorers
from worker.scoring.clip import ClipScorer
from worker_bench import Bench
from worker_desk import ONE_BY_ONE, fake_model


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    fake_model(tmp_path)
    return Bench(tmp_path)


def stored(bench: Bench, image: MadeImage) -> Image.Image:
    return Image.open(io.BytesIO(bench.store.get(image.key)))


def resolve(bench: Bench, **entries: object) -> Manifest:
    message = bench.freeze(**entries).model_copy(update={"kind": "resolve", "models": {}, "ranges": [], "plan": None})
    return bench.run(message)


def test_every_picture_has_a_perceptual_hash(bench: Bench) -> None:
    manifest = bench.run(bench.freeze())

    assert [image.phash for image in manifest.images] == [
        str(imagehash.phash(stored(bench, image))) for image in manifest.images
    ]
    assert len({image.phash for image in manifest.images}) == 6
    assert all(image.scores == {} for image in manifest.images)
    assert "score" not in manifest.seconds


def test_scores_stand_in_the_manifest_whatever_the_batch(bench: Bench) -> None:
    quality = {}
    for name, build in {
        "clip": build_tiny_clip,
        "aesthetic": build_tiny_aesthetic,
        "safety": build_tiny_safety,
    }.items():
        build(bench.folder / name)
        quality[name] = {"model": f"./{name}"}
    message = bench.freeze(quality=quality)

    first = bench.run(message)
    alone = bench.run(message.model_copy(update={"attempt": 2, "alone": True}))

    assert [set(image.scores) for image in first.images] == [set(quality)] * 6
    assert [image.scores for image in first.images] == [image.scores for image in alone.images]
    assert len({image.scores["clip"] for image in first.images}) == 6
    assert {model.kind for model in first.models.values()} == {"checkpoint", *quality}
    assert first.seconds["score"] > 0


def test_scores_change_no_pixel_and_no_recipe(bench: Bench) -> None:
    build_tiny_clip(bench.folder / "clip")

    plain, scored = bench.run(bench.freeze()), bench.run(bench.freeze(quality={"clip": {"model": "./clip"}}))

    assert [image.sha256 for image in plain.images] == [image.sha256 for image in scored.images]
    assert [image.recipe_hash for image in plain.images] == [image.recipe_hash for image in scored.images]


def test_resolving_finds_the_scorers_and_loads_them(bench: Bench) -> None:
    build_tiny_clip(bench.folder / "clip")

    manifest = resolve(bench, quality={"clip": {"model": "./clip"}})

    assert manifest.fatal is None
    entry = manifest.models["clip:./clip"]
    assert (entry.kind, entry.family, entry.digest[:7]) == ("clip", "CLIPModel", "sha256:")


def test_a_scorer_that_cannot_be_loaded_ends_the_job_before_its_first_picture(bench: Bench) -> None:
    build_tiny_safety(bench.folder / "safety", labels=("cat", "dog"))

    manifest = resolve(bench, quality={"safety": {"model": "./safety", "above": 0.5}})

    assert manifest.fatal is not None
    assert "no label of it says nsfw, unsafe or porn; name one with label: cat, dog" in manifest.fatal
    assert not manifest.images


def test_a_scorer_of_another_kind_ends_the_job(bench: Bench) -> None:
    folder = build_tiny_clip(bench.folder / "clip")
    message = bench.freeze(quality={"clip": {"model": "./clip"}})
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("CLIPModel", "SiglipModel"))

    manifest = bench.run(message.model_copy(update={"kind": "resolve", "models": {}, "ranges": [], "plan": None}))

    assert manifest.fatal is not None
    assert "its config.json says SiglipModel, and clip needs a CLIPModel" in manifest.fatal


def test_a_scorer_whose_bytes_changed_since_is_refused(bench: Bench) -> None:
    build_tiny_clip(bench.folder / "clip")
    message = bench.freeze(quality={"clip": {"model": "./clip"}})
    config = bench.folder / "clip" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "spare": 1}))

    manifest = bench.run(message)

    assert manifest.fatal is not None
    assert (manifest.fatal_here, manifest.images) == (True, [])
    assert "clip:./clip" in manifest.fatal


def test_a_picture_that_a_scorer_breaks_on_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    build_tiny_clip(bench.folder / "clip")
    real = ClipScorer.score
    asked: list[str] = []

    def moody(self: ClipScorer, picture: Image.Image, prompt: str) -> float:
        asked.append(prompt)
        if prompt == "a wolf":
            raise RuntimeError("size mismatch")
        return real(self, picture, prompt)

    monkeypatch.setattr(ClipScorer, "score", moody)
    message = bench.freeze(
        prompt=None, axes={"prompt": ["a fox", "a wolf"], "seed": [1, 2, 3]}, quality={"clip": {"model": "./clip"}}
    )

    manifest = bench.run(message)

    assert [image.number for image in manifest.images] == [0, 1, 2]
    assert [(image.number, image.reason, image.detail) for image in manifest.failed] == [
        (number, "error", "scorer clip: RuntimeError: size mismatch") for number in (3, 4, 5)
    ]


def test_scorers_stay_loaded_from_run_to_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    build_tiny_clip(bench.folder / "clip")
    message = bench.freeze(quality={"clip": {"model": "./clip"}})
    bench.run(message)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr("worker.scoring.kept._load", refuse)

    assert len(bench.run(message.model_copy(update={"attempt": 2})).images) == 6
    assert isinstance(bench.tools.scorers, Scorers)


def test_scoring_beside_a_pipeline_changes_none_of_its_pixels(tmp_path: Path) -> None:
    model = build_tiny(tmp_path / "sd")
    build_tiny_clip(tmp_path / "clip")
    bench = Bench(tmp_path, DiffusionRenderer(Settings(home=tmp_path, resident_pipelines=1)))
    plan = ONE_BY_ONE.model_copy(update={"threads": 2})

    plain, scored = (
        bench.run(bench.freeze(model=str(model), quality=quality).model_copy(update={"plan": plan}))
        for quality in (None, {"clip": {"model": "./clip"}})
    )

    assert [image.sha256 for image in plain.images] == [image.sha256 for image in scored.images]
    assert len({image.scores["clip"] for image in scored.images}) == 6
