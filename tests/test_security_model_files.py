"""Files of models that lie: headers of safetensors files, configs, and listings in the object store."""

import json
import struct
from pathlib import Path

import pytest

from model_files import LORA, SD15, SD_PARTS, write_pipeline, write_safetensors
from storage.blobs import FolderStore
from storage.errors import ModelUnusable
from storage.models.archive import Archive
from storage.models.layout import inspect


def refusal(path: Path, kind: str | None = None) -> str:
    with pytest.raises(ModelUnusable) as caught:
        inspect(path, kind, source=str(path))
    said = str(caught.value)
    assert "\n" not in said
    return said


def header(entries: object, tail: bytes = b"", *, length: int | None = None) -> bytes:
    head = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + tail


def tensor(first: object, last: object, shape: object = (1,)) -> dict[str, object]:
    return {"dtype": "U8", "shape": shape, "data_offsets": [first, last]}


LIES = {
    "nothing": b"",
    "four bytes": b"1234",
    "a length beyond the file": header({"a": tensor(0, 1)}, b"x", length=10**6),
    "a length beyond all files": header({"a": tensor(0, 1)}, b"x", length=2**63),
    "a length of all ones": header({"a": tensor(0, 1)}, b"x", length=2**64 - 1),
    "a length of nothing": header({"a": tensor(0, 1)}, b"x", length=0),
    "a header that is a list": header([1, 2]),
    "a header that is a text": header(b'"text"'),
    "a header that is null": header(b"null"),
    "a header that is no JSON": header(b"{" * 100),
    "a header of brackets": header(b"[" * 200_000),
    "a header of objects": header(b'{"a":' * 200_000),
    "a header of UTF-16": header('{"a": 1}'.encode("utf-16")),
    "a tensor that is a number": header({"a": 1}),
    "a tensor without shape": header({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, b"x"),
    "a tensor without offsets": header({"a": {"dtype": "U8", "shape": [1]}}, b"x"),
    "a shape of texts": header({"a": tensor(0, 1, ["x"])}, b"x"),
    "a shape that is a number": header({"a": tensor(0, 1, 5)}, b"x"),
    "a negative side": header({"a": tensor(0, 1, [-1])}, b"x"),
    "a side that is a float": header({"a": tensor(0, 1, [1.5])}, b"x"),
    "negative offsets": header({"a": tensor(-1, 0)}, b"x"),
    "offsets that run backwards": header({"a": tensor(1, 0)}, b"x"),
    "offsets that are texts": header({"a": tensor("0", "1")}, b"x"),
    "offsets that are floats": header({"a": tensor(0, 1.0)}, b"x"),
    "offsets that are true": header({"a": tensor(False, True)}, b"x"),
    "one offset": header({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1]}}, b"x"),
    "three offsets": header({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}}, b"x"),
    "offsets beyond the file": header({"a": tensor(0, 2**62)}, b"x"),
    "tensors that overlap": header({"a": tensor(0, 4), "b": tensor(2, 6)}, b"x" * 6),
    "tensors that share their bytes": header({"a": tensor(0, 4), "b": tensor(0, 4)}, b"x" * 4),
    "a hole between tensors": header({"a": tensor(0, 2), "b": tensor(4, 6)}, b"x" * 6),
    "bytes behind the tensors": header({"a": tensor(0, 1)}, b"x" * 100),
    "a zip behind the tensors": header({"a": tensor(0, 1)}, b"x" + b"PK\x03\x04" + bytes(30)),
    "a number without end": header(
        b'{"a": {"dtype": "U8", "shape": [' + b"9" * 10_000 + b'], "data_offsets": [0, 1]}}'
    ),
    "metadata that is a list": header({"__metadata__": [1], "a": tensor(0, 1)}, b"x"),
    "metadata that is a text": header({"__metadata__": "x", "a": tensor(0, 1)}, b"x"),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
def test_a_safetensors_file_that_lies_is_refused_in_a_sentence(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)

    said = refusal(file)

    assert "is no safetensors file" in said or "cut short" in said or "behind its tensors" in said


def test_metadata_of_other_kinds_than_text_is_passed_over(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "m.safetensors", SD15, **{"modelspec.prediction_type": 5})  # type: ignore[arg-type]

    assert inspect(file, "checkpoint", source="x").preset == "sd15"


def test_a_header_beyond_every_model_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with file.open("wb") as handle:
        handle.write(struct.pack("<Q", 10**10))
        handle.truncate(10**10 + 100)

    assert "is no safetensors file" in refusal(file)


def test_a_config_beyond_every_config_is_not_read(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path / "sd", SD_PARTS)
    with (folder / "model_index.json").open("wb") as handle:
        handle.truncate(10**10)

    assert "too many for a config" in refusal(folder)


NAMES = ["../evil", "/etc/passwd", "a/../../evil", ".complete", "a//b", "", "a/.hidden/b", ".", "a\0b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_listing_whose_names_lead_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    entry = {"name": name, "sha256": "0" * 64, "size": 1}

    assert "names" in forged(tmp_path, entry) or "a name leads out of the folder" in forged(tmp_path, entry)


@pytest.mark.parametrize(
    "change", [{"sha256": "../../evil"}, {"sha256": "A" * 64}, {"size": -1}, {"size": "1"}, {"more": 1}, {"sha256": 5}]
)
def test_a_listing_with_a_forged_file_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    assert "its listing in the store cannot be read" in forged(
        tmp_path, {"name": "a", "sha256": "0" * 64, "size": 1, **change}
    )


def forged(folder: Path, file: dict[str, object]) -> str:
    """What is said of a model whose listing holds that file."""
    store = FolderStore(folder / "store")
    store.check()
    store.put(f"models/{'a' * 64}.json", json.dumps({"kind": "lora", "family": "sd1", "files": [file]}).encode())
    with pytest.raises(ModelUnusable) as caught:
        Archive(store).fetch("a" * 64, folder / "home" / "x", hashes=None, say=lambda done, total: None)
    assert sorted(each.name for each in folder.iterdir() if each.name not in ("store", "home")) == []
    return str(caught.value)


def test_an_adapter_with_a_lying_header_never_reaches_torch(tmp_path: Path) -> None:
    good = write_safetensors(tmp_path / "good.safetensors", LORA)
    assert inspect(good, "lora", source="x").kind == "lora"

    good.write_bytes(good.read_bytes() + b"PK\x03\x04")

    assert "has 4 bytes behind its tensors" in refusal(good, "lora")
