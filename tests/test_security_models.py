"""Models are data: whatever a folder, a file or a repository of the hub brings along, no code of it runs."""

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hub_server import serve
from model_files import SD_PARTS, write_json, write_pipeline
from storage.errors import FarmError, ModelUnusable
from storage.models.digests import Hashes
from storage.models.layout import inspect

WEIGHTS = "diffusion_pytorch_model"
ENDINGS = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".onnx", ".pb", ".npz", ".py", ".safetensors.ckpt", "")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self._mark), "w"))


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Bomb(mark))


def torch_file(mark: Path) -> bytes:
    """What torch.save writes: a zip with a pickle in it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(mark))
        archive.writestr("archive/version", "3\n")
    return data.getvalue()


def refusal(path: Path, kind: str | None = None) -> str:
    with pytest.raises(ModelUnusable) as caught:
        inspect(path, kind, source=str(path))
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.mark.parametrize("kind", ["checkpoint", "lora", "embedding", "vae"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("make", [pickled, torch_file])
def test_a_single_pickle_is_refused(
    tmp_path: Path, mark: Path, make: Callable[[Path], bytes], ending: str, kind: str
) -> None:
    file = tmp_path / f"model{ending}"
    file.write_bytes(make(mark))

    said = refusal(file, kind)

    assert "pickle" in said or "must be a .safetensors file or a folder" in said
    assert not mark.exists()


@pytest.mark.parametrize("make", [pickled, torch_file])
def test_a_pickle_under_another_name_is_no_safetensors_file(
    tmp_path: Path, mark: Path, make: Callable[[Path], bytes]
) -> None:
    (tmp_path / "model.safetensors").write_bytes(make(mark))

    assert "is no safetensors file" in refusal(tmp_path / "model.safetensors")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", f"{WEIGHTS}.bin", "model.ckpt", f"{WEIGHTS}.pt", "model.pkl"])
def test_a_folder_of_pickles_is_refused(tmp_path: Path, mark: Path, name: str) -> None:
    folder = write_pipeline(tmp_path / "sd", SD_PARTS)
    (folder / "unet" / f"{WEIGHTS}.safetensors").unlink()
    (folder / "unet" / name).write_bytes(torch_file(mark))
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / name).write_bytes(torch_file(mark))

    assert "no .safetensors weights in unet/" in refusal(folder)
    assert "holds pickles only, which can run code" in refusal(tmp_path / "flat")
    assert not mark.exists()


def test_a_pickle_beside_the_weights_is_not_part_of_the_model(tmp_path: Path, mark: Path) -> None:
    folder = write_pipeline(tmp_path / "sd", SD_PARTS)
    (folder / "unet" / f"{WEIGHTS}.bin").write_bytes(torch_file(mark))

    files = inspect(folder, None, source=str(folder)).files

    assert not [name for name in files if not name.endswith((".json", ".safetensors"))]


@pytest.mark.parametrize(
    "shard",
    [
        f"{WEIGHTS}.bin", "pytorch_model-00001-of-00001.bin", f"../vae/{WEIGHTS}.safetensors", "/etc/passwd", 7, None,
        [], "other.safetensors", f"sub/{WEIGHTS}.safetensors",
    ],
    ids=str,
)  # fmt: skip
def test_an_index_of_shards_leads_to_weights_beside_it_only(tmp_path: Path, mark: Path, shard: object) -> None:
    folder = write_pipeline(tmp_path / "sd", SD_PARTS)
    (folder / "unet" / f"{WEIGHTS}.bin").write_bytes(torch_file(mark))
    write_json(folder / "unet" / f"{WEIGHTS}.safetensors.index.json", {"weight_map": {"a": shard}})

    said = refusal(folder)

    assert "and weights are .safetensors files beside it" in said
    assert not mark.exists()


CLASSES = {
    "a module of the model": ["evil", "Evil"],
    "a module of the system": ["os", "system"],
    "a program": ["subprocess", "Popen"],
    "a module with a dot": ["os.path", "join"],
    "a path": ["../evil", "Evil"],
    "another installed library": ["celery", "Celery"],
    "our own": ["storage", "Settings"],
    "an automatic class of diffusers": ["diffusers", "AutoModel"],
    "an automatic class of transformers": ["transformers", "AutoModelForCausalLM"],
    "an automatic tokenizer": ["transformers", "AutoTokenizer"],
    "a pipeline in a pipeline": ["diffusers", "DiffusionPipeline"],
    "a pipeline of transformers": ["transformers", "TextGenerationPipeline"],
    "a class with a dot": ["diffusers", "utils.os.system"],
    "three words": ["diffusers", "UNet2DConditionModel", "x"],
    "one word": ["diffusers"],
    "a class without library": [None, "UNet2DConditionModel"],
    "a library without class": ["diffusers", None],
}


@pytest.mark.parametrize("part", ["unet", "safety_checker", "image_encoder"])
@pytest.mark.parametrize("entry", CLASSES.values(), ids=CLASSES)
def test_a_part_is_of_a_class_of_diffusers_or_transformers(tmp_path: Path, part: str, entry: list[object]) -> None:
    folder = write_pipeline(tmp_path / "sd", SD_PARTS)
    (folder / "unet" / "evil.py").write_text("raise SystemExit")
    index = json.loads((folder / "model_index.json").read_text())
    write_json(folder / "model_index.json", {**index, part: entry})

    assert "only classes of diffusers and transformers are loaded" in refusal(folder)


@pytest.mark.parametrize("name", ["", "..", "a/b", "unet.x", "0", "a b", "ünet"])
def test_a_part_has_the_name_of_an_argument(tmp_path: Path, name: str) -> None:
    folder = write_pipeline(tmp_path / "sd", SD_PARTS)
    index = json.loads((folder / "model_index.json").read_text())
    write_json(folder / "model_index.json", {**index, name: ["diffusers", "UNet2DConditionModel"]})

    assert "only classes of diffusers" in refusal(folder)


@pytest.mark.parametrize(
    "said", [["pipeline", "Evil"], ["evil", "Evil"], None, 5, {}, "", "a.b", "os.system", "x" * 500]
)
def test_the_pipeline_itself_is_a_class_by_its_name(tmp_path: Path, said: object) -> None:
    folder = write_pipeline(tmp_path / "sd", SD_PARTS, kind=said)  # type: ignore[arg-type]

    assert "which is no name of a class" in (words := refusal(folder)) or "names no pipeline of diffusers" in words


def test_parts_with_classes_in_the_folder_of_a_pipeline_are_taken(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path / "sd", {**SD_PARTS, "safety_checker": {}})
    index = json.loads((folder / "model_index.json").read_text())
    known = {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    write_json(folder / "model_index.json", {**index, **known, "image_encoder": [None, None]})

    assert inspect(folder, "checkpoint", source="x").family == "StableDiffusionPipeline"


def trap(folder: Path, mark: Path) -> None:
    """Code in every place where some library looks for some, and a word in every config that sends there."""
    code = f"open({str(mark)!r}, 'w').close()\nclass Evil:\n    pass\n"
    for place in (folder, *(each for each in folder.iterdir() if each.is_dir())):
        for name in ("pipeline", "evil", "modeling_evil", "__init__", "tokenization_evil", place.name):
            (place / f"{name}.py").write_text(code)
    sends = {"auto_map": dict.fromkeys(("AutoModel", "AutoConfig", "AutoTokenizer", "AutoProcessor"), "evil.Evil")}
    more = {"custom_pipelines": {"evil": "evil.Evil"}, "trust_remote_code": True, "custom_pipeline": "evil"}
    for config in folder.rglob("*.json"):
        entry = json.loads(config.read_text())
        if isinstance(entry, dict) and config.name not in ("model_index.json", "vocab.json", "tokenizer.json"):
            config.write_text(json.dumps({**entry, **sends, **more}))
    for part in ("unet", "vae", "text_encoder"):
        (folder / part / "pytorch_model.bin").write_bytes(torch_file(mark))
        (folder / part / f"{WEIGHTS}.bin").write_bytes(pickled(mark))


def test_a_model_full_of_code_loads_without_running_any(
    tmp_path: Path, mark: Path, tiny_models: Callable[[str], Path]
) -> None:
    import torch

    from worker.diffusion.loading.parts import Parts

    folder = tmp_path / "model"
    shutil.copytree(tiny_models("sd"), folder)
    trap(folder, mark)
    parts = Parts(Hashes(None), torch.device("cpu"))

    with suppress(FarmError):  # loading what is honest of it would be as good
        parts.checkpoint(inspect(folder, None, source="x"), source="x", dtype=torch.float32, placement="none")

    assert not mark.exists()


def test_a_part_that_asks_for_its_own_code_is_refused_by_the_worker_too(
    tmp_path: Path, mark: Path, tiny_models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from worker.diffusion.loading.parts import Parts

    folder = tmp_path / "model"
    shutil.copytree(tiny_models("sd"), folder)
    layout = inspect(folder, None, source="x")  # honest now; what comes next is a folder that changed meanwhile
    trap(folder, mark)
    index = json.loads((folder / "model_index.json").read_text())
    write_json(folder / "model_index.json", {**index, "unet": ["evil", "Evil"]})

    with pytest.raises(ModelUnusable):
        Parts(Hashes(None), torch.device("cpu")).checkpoint(layout, source="x", dtype=torch.float32, placement="none")

    assert not mark.exists()


@pytest.fixture
def hub_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    return tmp_path / "hub"


def test_a_repository_of_pickles_is_refused_before_anything_large_is_fetched(
    hub_home: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    from storage.models.hub import look
    from storage.models.sources import HubSource

    folder = write_pipeline(hub_home / "evil/model", SD_PARTS)
    for part in ("unet", "vae"):
        (folder / part / f"{WEIGHTS}.safetensors").unlink()
        (folder / part / f"{WEIGHTS}.bin").write_bytes(torch_file(mark))

    with serve(hub_home) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        with pytest.raises(ModelUnusable, match="pickles run code when they are loaded and are never read"):
            look(HubSource(repository="evil/model"), None)

    assert not [name for name in hub.served if name.endswith(".bin")]
    assert not mark.exists()
