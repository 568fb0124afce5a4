"""Models in the object store and on a host: stored once, fetched once, continued, checked."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_files import LORA, SD_PARTS, write_pipeline, write_safetensors
from storage.blobs import BlobStore, FolderStore
from storage.errors import DiskFull, ModelMissing, ModelUnusable, StoreAway
from storage.models import room
from storage.models.archive import Archive, Listing
from storage.models.digests import Hashes
from storage.models.layout import inspect
from storage.models.local import LocalModels


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    store.check()
    return store


def put(store: BlobStore, path: Path) -> Listing:
    layout = inspect(path, None, source=str(path))
    return Archive(store).put(layout, hashes=Hashes(None), say=lambda done, total: None)


def source_of(listing: Listing) -> str:
    return f"store:{listing.digest}"


def test_a_folder_comes_back_as_the_same_model(store: FolderStore, tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path / "sd", SD_PARTS)
    listing = put(store, folder)

    found = LocalModels(tmp_path / "home", store).find(source_of(listing), kind="checkpoint")

    layout = inspect(found, "checkpoint", source=source_of(listing))
    assert Hashes(None).digest_of(layout.files) == listing.digest
    assert (layout.family, layout.width) == ("StableDiffusionPipeline", 512)
    assert LocalModels(tmp_path / "home", None).find(str(folder), kind=None) == folder


def test_a_file_comes_back_as_a_file(store: FolderStore, tmp_path: Path) -> None:
    listing = put(store, write_safetensors(tmp_path / "my lora.safetensors", LORA))

    found = LocalModels(tmp_path / "home", store).find(source_of(listing), kind="lora")

    assert found.name == "model.safetensors"
    assert inspect(found, "lora", source="x").kind == "lora"


def test_bytes_that_are_there_are_not_sent_again(store: FolderStore, tmp_path: Path) -> None:
    write_pipeline(tmp_path / "one", SD_PARTS)
    write_pipeline(tmp_path / "two", {**SD_PARTS, "unet": {"sample_size": 96}})

    first = put(store, tmp_path / "one")
    before = {info.key: info.modified for info in store.list("models/blobs/")}
    second = put(store, tmp_path / "two")

    after = {info.key: info.modified for info in store.list("models/blobs/")}
    assert len(after) == len(before) + 1  # the other config
    assert {key: after[key] for key in before} == before
    assert first.digest != second.digest


def test_what_is_removed_leaves_the_files_that_others_hold(store: FolderStore, tmp_path: Path) -> None:
    write_pipeline(tmp_path / "one", SD_PARTS)
    write_pipeline(tmp_path / "two", {**SD_PARTS, "unet": {"sample_size": 96}})
    first, second = put(store, tmp_path / "one"), put(store, tmp_path / "two")
    hexes = [listing.digest.removeprefix("sha256:") for listing in (first, second)]

    Archive(store).remove(hexes[0], kept=[hexes[1]])

    assert LocalModels(tmp_path / "home", store).find(source_of(second), kind=None).is_dir()
    with pytest.raises(ModelMissing, match="the object store has none of that digest"):
        LocalModels(tmp_path / "home", store).find(source_of(first), kind=None)
    Archive(store).remove(hexes[1], kept=[])
    assert list(store.list("models/")) == []


def test_what_was_fetched_is_not_asked_for_again(store: FolderStore, tmp_path: Path) -> None:
    listing = put(store, write_pipeline(tmp_path / "sd", SD_PARTS))
    hashes = Hashes(None)
    first = LocalModels(tmp_path / "home", store, hashes=hashes).find(source_of(listing), kind=None)
    store.delete(info.key for info in list(store.list("models/")))

    again = LocalModels(tmp_path / "home", store).find(source_of(listing), kind=None)

    assert again == first


class Cutting(FolderStore):
    """Away after so many files."""

    files = 0

    def get_file(self, key: str, path: Path, *, tell: Callable[[int], None] | None = None) -> None:
        if not self.files:
            path.write_bytes(self.get(key)[:1])
            raise StoreAway(self.address, "cut")
        self.files -= 1
        super().get_file(key, path, tell=tell)


@pytest.mark.parametrize("files", range(6))
def test_a_fetch_that_was_cut_off_goes_on(store: FolderStore, tmp_path: Path, files: int) -> None:
    listing = put(store, write_pipeline(tmp_path / "sd", SD_PARTS))
    cutting = Cutting(store.root)
    cutting.files = files
    with pytest.raises(StoreAway):
        LocalModels(tmp_path / "home", cutting).find(source_of(listing), kind=None)

    found = LocalModels(tmp_path / "home", store).find(source_of(listing), kind=None)

    assert Hashes(None).digest_of(inspect(found, None, source="x").files) == listing.digest


def test_a_file_that_left_the_host_is_fetched_again(store: FolderStore, tmp_path: Path) -> None:
    listing = put(store, write_pipeline(tmp_path / "sd", SD_PARTS))
    models = LocalModels(tmp_path / "home", store)
    found = models.find(source_of(listing), kind=None)
    (found / "unet" / "config.json").unlink()

    models.find(source_of(listing), kind=None)

    assert (found / "unet" / "config.json").is_file()


def test_other_bytes_in_the_store_are_refused_and_not_kept(store: FolderStore, tmp_path: Path) -> None:
    listing = put(store, write_safetensors(tmp_path / "a.safetensors", LORA))
    store.put(f"models/blobs/{listing.files[0].sha256}", b"something else")

    with pytest.raises(ModelUnusable, match=r"model\.safetensors in the store has other bytes"):
        LocalModels(tmp_path / "home", store).find(source_of(listing), kind=None)

    assert [file for file in (tmp_path / "home" / "models").rglob("*") if file.suffix == ".safetensors"] == []
    assert list((tmp_path / "home" / "models" / "parts").iterdir()) == []


def test_a_full_disk_is_known_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(room, "SPARE", 10**18)

    with pytest.raises(DiskFull, match=r"free"):
        room.require_room(tmp_path / "not" / "there", 1)


def test_processes_of_one_host_fetch_a_model_once(store: FolderStore, tmp_path: Path) -> None:
    listing = put(store, write_pipeline(tmp_path / "sd", SD_PARTS))
    fetched: list[str] = []
    ready = threading.Barrier(4)

    class Counting(FolderStore):
        def get_file(self, key: str, path: Path, *, tell: Callable[[int], None] | None = None) -> None:
            fetched.append(key)
            super().get_file(key, path, tell=tell)

    def find(_: int) -> Path:
        ready.wait()
        return LocalModels(tmp_path / "home", Counting(store.root)).find(source_of(listing), kind=None)

    with ThreadPoolExecutor(4) as threads:
        places = set(threads.map(find, range(4)))

    assert len(places) == 1
    assert sorted(fetched) == sorted(f"models/blobs/{file.sha256}" for file in listing.files)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("/nowhere/at/all", "copy or mount it there", id="folder"),
        pytest.param("./here", "copy or mount it there", id="relative folder"),
        pytest.param("store:sha256:" + "0" * 64, "has none of that digest", id="digest"),
        pytest.param("sdxl", "must be a path, owner/name@revision", id="a name"),
        pytest.param("owner/name?colour=red", "come variant, path, encoder", id="unknown option"),
    ],
)
def test_a_source_that_leads_nowhere_says_what_to_do(
    store: FolderStore, tmp_path: Path, source: str, said: str
) -> None:
    with pytest.raises(ModelMissing, match=said):
        LocalModels(tmp_path / "home", store).find(source, kind=None)
