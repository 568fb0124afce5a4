"""Folders that hold scorers: told from their configs, with the files that count, and registered like other models."""

from pathlib import Path

import pytest

from dispatcher.cli import main
from model_files import write_json, write_safetensors
from storage.errors import ModelUnusable
from storage.models.layout import Layout, inspect

CLIP = {"architectures": ["CLIPModel"], "model_type": "clip"}
VISION = {"architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model"}
LABELS = {"0": "normal", "1": "nsfw"}


def write(folder: Path, config: dict[str, object], *tensors: str, head: bool = False) -> Path:
    write_json(folder / "config.json", config)
    write_json(folder / "preprocessor_config.json", {})
    write_safetensors(folder / "model.safetensors", dict.fromkeys(("a", *tensors), (1,)))
    write_json(folder / "pytorch_model.bin", {})
    if head:
        write_safetensors(folder / "head.safetensors", {"weight": (1, 32)})
    return folder


def classifier(labels: dict[str, str] | None) -> dict[str, object]:
    said = {} if labels is None else {"id2label": labels}
    return {"architectures": ["ViTForImageClassification"], "model_type": "vit", **said}


def look(folder: Path, kind: str | None = None) -> Layout:
    return inspect(folder, kind, source=str(folder))


@pytest.mark.parametrize(
    ("config", "tensors", "head", "kind"),
    [
        pytest.param(CLIP, (), False, "clip", id="clip"),
        pytest.param(CLIP, (), True, "aesthetic", id="clip with a head"),
        pytest.param(VISION, (), True, "aesthetic", id="vision with a head"),
        pytest.param(VISION, ("predictor.weight",), False, "aesthetic", id="head within"),
        pytest.param(VISION, ("layers.0.weight",), False, "aesthetic", id="layers within"),
        pytest.param(classifier({"0": "score"}), (), False, "aesthetic", id="one output"),
        pytest.param(classifier(LABELS), (), False, "safety", id="labels"),
        pytest.param(classifier(None), (), False, "safety", id="two silent labels"),
    ],
)
def test_a_scorer_is_told_from_its_config(
    tmp_path: Path, config: dict[str, object], tensors: tuple[str, ...], head: bool, kind: str
) -> None:
    found = look(write(tmp_path, config, *tensors, head=head))

    expected = ["config.json", *(["head.safetensors"] if head else []), "model.safetensors", "preprocessor_config.json"]
    assert (found.kind, sorted(found.files)) == (kind, expected)


def test_a_clip_with_a_head_serves_as_clip_where_that_is_wanted(tmp_path: Path) -> None:
    found = look(write(tmp_path, CLIP, head=True), "clip")

    assert found.kind == "clip"
    assert "head.safetensors" not in found.files


@pytest.mark.parametrize(
    ("config", "kind", "complaint"),
    [
        pytest.param(classifier(LABELS), "clip", "says ViTForImageClassification (outputs: 2), and clip needs a CLIPModel", id="classifier as clip"),  # noqa: E501
        pytest.param(classifier(LABELS), "aesthetic", "(outputs: 2), and aesthetic needs an image classifier with one output", id="two outputs"),  # noqa: E501
        pytest.param(classifier({"0": "x"}), "safety", "(outputs: 1), and safety needs an image classifier", id="one output"),  # noqa: E501
        pytest.param({"architectures": ["SiglipModel"]}, "clip", "config.json says SiglipModel, and clip needs", id="other"),  # noqa: E501
        pytest.param({}, "safety", "no config.json there names a model", id="nothing"),
        pytest.param({"architectures": "CLIPModel"}, "clip", "no config.json there names a model", id="no list"),
        pytest.param(VISION, "aesthetic", "says CLIPVisionModelWithProjection, and aesthetic needs", id="no head"),
        pytest.param(CLIP, "vae", "is a clip (CLIPModel), no vae", id="clip as vae"),
    ],
)  # fmt: skip
def test_what_is_no_such_scorer_says_what_it_is(
    tmp_path: Path, config: dict[str, object], kind: str, complaint: str
) -> None:
    with pytest.raises(ModelUnusable) as caught:
        look(write(tmp_path, config), kind)

    assert complaint in str(caught.value)


def test_an_adapter_is_refused_since_it_would_be_loaded_from_anywhere(tmp_path: Path) -> None:
    write_json(write(tmp_path, CLIP) / "adapter_config.json", {"base_model_name_or_path": "somebody/else"})

    with pytest.raises(ModelUnusable, match="merge the adapter into the model"):
        look(tmp_path, "clip")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    (write(tmp_path, CLIP) / "model.safetensors").unlink()

    with pytest.raises(ModelUnusable, match="pickles run code"):
        look(tmp_path, "clip")


def test_a_scorer_is_registered_with_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "seen", CLIP, head=True)

    for words in (["fits", "seen", "--kind", "clip"], ["likes", "seen"]):
        with pytest.raises(SystemExit) as ended:
            main(["model", "add", *words])
        assert ended.value.code in (0, None)

    said = capsys.readouterr().out
    assert "model fits added: clip, CLIPModel" in said
    assert "model likes added: aesthetic, CLIPModel" in said
