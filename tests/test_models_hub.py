"""Models of the hub: looked at, frozen at a commit, fetched; and what its refusals say."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from hub_server import COMMIT, Hub, serve
from model_files import LORA, SD_PARTS, write_json, write_pipeline, write_safetensors
from storage.errors import DiskFull, ModelMissing, ModelUnusable
from storage.models import hub as hub_models
from storage.models import room
from storage.models.digests import Hashes
from storage.models.layout import inspect
from storage.models.local import LocalModels
from storage.models.sources import HubSource, parse_hub

STEM = "diffusion_pytorch_model"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve(tmp_path / "hub") as server:
        point_to(server.url, tmp_path, monkeypatch)
        yield server


def point_to(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the test run is offline; this hub is on this host
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def pipeline(hub: Hub) -> Path:
    folder = write_pipeline(hub.folder / "owner" / "sd", {**SD_PARTS, "safety_checker": {}})
    write_safetensors(folder / "unet" / f"{STEM}.fp16.safetensors", {"a": (1,)}, fill=1)
    write_safetensors(folder / "v1-5-pruned.safetensors", {"a": (1,)})
    for spare in (f"unet/{STEM}.bin", "README.md"):
        (folder / spare).write_text("x")
    return folder


def parsed(source: str) -> HubSource:
    found = parse_hub(source)
    assert found is not None
    return found


def test_a_look_freezes_the_commit_and_fetches_no_weight(hub: Hub, pipeline: Path) -> None:
    remote = hub_models.look(parsed("owner/sd"), None)
    digest = remote.digest()

    assert str(remote.source) == f"owner/sd@{COMMIT}"
    assert (remote.license, remote.outline.family, remote.outline.width) == ("openrail", "StableDiffusionPipeline", 512)
    assert not [name for name in hub.served if name.endswith((".safetensors", ".bin"))]
    assert digest == Hashes(None).digest_of(inspect(pipeline, None, source="x").files)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_only_the_files_that_count_are_fetched_and_once(
    hub: Hub, pipeline: Path, tmp_path: Path, variant: str | None
) -> None:
    source = f"owner/sd@{COMMIT}" + (f"?variant={variant}" if variant else "")
    models = LocalModels(tmp_path / "home", None)

    found = models.find(source, kind="checkpoint")
    first = list(hub.served)
    again = models.find(source, kind="checkpoint")

    unet = f"unet/{STEM}.fp16.safetensors" if variant else f"unet/{STEM}.safetensors"
    assert [name for name in first if name.endswith((".safetensors", ".bin"))] == [unet, f"vae/{STEM}.safetensors"]
    assert (again, hub.served) == (found, first)
    layout = inspect(found, "checkpoint", source=source)
    assert (layout.variant, unet in layout.files) == (variant, True)
    assert Hashes(None).digest_of(layout.files) == hub_models.look(parsed(source), None).digest()


def test_what_was_fetched_needs_no_hub(
    hub: Hub, pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        source: LocalModels(tmp_path / "home", None).find(source, kind=None)
        for source in ("owner/sd", f"owner/sd@{COMMIT}")
    }
    point_to("http://127.0.0.1:1", tmp_path, monkeypatch)

    again = {source: LocalModels(tmp_path / "home", None).find(source, kind=None) for source in found}
    cached = LocalModels(tmp_path / "other home", None).find(f"owner/sd@{COMMIT}", kind=None)

    assert again == found
    assert cached == found["owner/sd"]


def test_one_file_of_a_repository_is_a_model(hub: Hub, tmp_path: Path) -> None:
    write_safetensors(hub.folder / "owner" / "loras" / "deep" / "ink.safetensors", LORA)
    write_safetensors(hub.folder / "owner" / "loras" / "oil.safetensors", LORA)

    found = LocalModels(tmp_path / "home", None).find(f"owner/loras@{COMMIT}?path=deep/ink.safetensors", kind="lora")

    assert found.name == "ink.safetensors"
    assert hub.served == ["deep/ink.safetensors"]
    assert list(inspect(found, "lora", source=f"owner/loras@{COMMIT}?path=deep/ink.safetensors").files) == [
        "model.safetensors"
    ]
    write_safetensors(hub.folder / "owner" / "loras" / "wash.safetensors", LORA)
    with pytest.raises(ModelUnusable, match="name one of them"):
        hub_models.look(parsed("owner/loras"), None)


def test_an_ip_adapter_may_take_its_encoder_from_elsewhere(hub: Hub, tmp_path: Path) -> None:
    folder = hub.folder / "owner" / "ip"
    shapes = {"image_proj.proj.weight": (1, 1), "ip_adapter.1.to_k_ip.weight": (320, 768)}
    write_safetensors(folder / "sdxl" / "plus.safetensors", shapes)
    write_json(folder / "models" / "image_encoder" / "config.json", {})
    write_safetensors(folder / "models" / "image_encoder" / "model.safetensors", {"a": (1,)})
    source = f"owner/ip@{COMMIT}?path=sdxl/plus.safetensors&encoder=models/image_encoder"

    found = LocalModels(tmp_path / "home", None).find(source, kind="ip_adapter")

    layout = inspect(found, "ip_adapter", source=source)
    assert list(layout.files) == [
        "image_encoder/config.json",
        "image_encoder/model.safetensors",
        "ip_adapter.safetensors",
    ]
    assert all(file.is_file() for file in layout.files.values())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("owner/gated", r"open https://huggingface\.co/owner/gated .* set HF_TOKEN", id="gated"),
        pytest.param("owner/none", r"check https://huggingface\.co/owner/none, or set HF_TOKEN", id="unknown"),
        pytest.param("owner/sd@gone", "the hub has no revision 'gone' of it", id="revision"),
    ],
)  # fmt: skip
def test_a_refusal_of_the_hub_says_what_to_do(hub: Hub, pipeline: Path, tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(ModelMissing, match=said):
        LocalModels(tmp_path / "home", None).find(source, kind=None)


def test_a_token_opens_a_gated_model(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pipeline(hub.folder / "owner" / "gated", SD_PARTS)
    monkeypatch.setenv("HF_TOKEN", "hf_abc")

    assert LocalModels(tmp_path / "home", None).find("owner/gated", kind=None).is_dir()


def test_a_hub_that_does_not_answer_is_told_from_one_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to("http://127.0.0.1:1", tmp_path, monkeypatch)

    with pytest.raises(ModelMissing, match="or let the host reach http"):
        LocalModels(tmp_path / "home", None).find("owner/name@main", kind=None)


def test_a_full_disk_is_known_before_the_first_weight(
    hub: Hub, pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SPARE", 10**18)

    with pytest.raises(DiskFull):
        LocalModels(tmp_path / "home", None).find("owner/sd", kind=None)

    assert not [name for name in hub.served if name.endswith(".safetensors")]


@pytest.mark.parametrize(
    "text", ["owner/name", "owner/name@main", "owner/name@refs/pr/1?variant=fp16&path=a/b.safetensors"]
)
def test_a_source_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_hub(text)) == text
