"""Exports open in the real libraries, without code of ours."""

import gc
import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from export_desk import ExportDesk, table
from storage.marks.reading import read
from storage.spec.number import number_of
from storage.sql import Database

LAYOUTS = ["webdataset", "imagefolder", "parquet", "folder"]
ROWS = (
    {"prompt": 'a fox, v1.5 "quoted" 🦊', "steps": 4, "color.name": "red.light"},
    {"prompt": "zwei\nZeilen", "steps": 20, "color.name": "blue"},
)


def odd(folder: Path) -> dict[str, Any]:
    """A job of two prompts, two schedulers and three seeds, with a label whose name has a dot."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return {
        "rows": {"file": "rows.jsonl", "bind": {"prompt": "prompt", "steps": "steps"}, "labels": ["color.name"]},
        "axes": {"scheduler": ["ddim", {"name": "dpmpp_2m", "use_karras_sigmas": True}], "seed": {"derive": 3}},
    }


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    yield database
    database.close()


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> ExportDesk:
    return ExportDesk(database, tmp_path)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`datasets.load_dataset` on a folder, offline, with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets

    def load(folder: Path) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))

    return load


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_data_set_of_odd_values_and_several_shards_loads_with_its_pictures(
    desk: ExportDesk, load: Any, tmp_path: Path, layout: str
) -> None:
    job = desk.painted(**odd(tmp_path), fail=[3])

    desk.export(tmp_path / "out", job, format=layout, shard_images=4)
    found = load(tmp_path / "out")

    assert list(found) == ["train"]
    assert len(found["train"]) == 11
    column = next(name for name in found["train"].features if name in ("image", "png"))
    assert {row[column].size for row in found["train"]} == {(24, 16)}


def test_a_tar_opens_in_webdataset_with_captions_classes_and_side_files_in_order(
    desk: ExportDesk, tmp_path: Path
) -> None:
    job = desk.painted(**odd(tmp_path), fail=[3])
    desk.export(tmp_path / "out", job, shard_images=4, cls="scheduler", caption="label.color.name")

    found = samples(tmp_path / "out")

    assert [sample["__key__"] for sample in found] == [f"{number:09d}" for number in range(12) if number != 3]
    assert {tuple(sorted(set(sample) - {"__url__", "__local_path__"})) for sample in found} == {
        ("__key__", "cls", "json", "png", "txt")
    }
    assert [sample["txt"].decode() for sample in found] == [
        ("red.light", "blue")[number % 2] for number in range(12) if number != 3
    ]
    assert {int(sample["cls"]) for sample in found} == {0, 1}
    rows = desk.images(job)
    for sample in found:
        said = json.loads(sample["json"])
        row = rows[said["number"]]
        assert (said["prompt"], said["seed"], said["label_color.name"]) == (
            row.prompt, row.seed, row.labels["color.name"],
        )  # fmt: skip
        assert None not in said.values()
        assert hashlib.sha256(sample["png"]).hexdigest() == row.sha256 == said["sha256_exported"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_image_alone_is_a_data_set(desk: ExportDesk, load: Any, tmp_path: Path, layout: str) -> None:
    job = desk.painted(axes={"seed": [7]}, prompt="one")

    desk.export(tmp_path / "out", job, format=layout, captions=layout == "folder")

    assert len(load(tmp_path / "out")["train"]) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_load_by_their_names(desk: ExportDesk, load: Any, tmp_path: Path, layout: str) -> None:
    job = desk.painted(axes={"prompt": ["a", "b"], "seed": {"count": 20}})

    outcome = desk.export(tmp_path / "out", job, format=layout, split="train=0.6,test=0.4")
    found = load(tmp_path / "out")

    assert {name: len(split) for name, split in found.items()} == {
        name: entry["rows"] for name, entry in outcome.index.splits.items()
    }
    assert set(found) == {"train", "test"}


@pytest.mark.parametrize("layout", ["webdataset", "imagefolder", "parquet"])
def test_two_jobs_with_missing_values_make_one_data_set(
    desk: ExportDesk, load: Any, tmp_path: Path, layout: str
) -> None:
    plain = desk.painted(axes={"negative_prompt": [None, "grey"], "guidance_scale": [None, 7.5]}, prompt="a")
    labelled = desk.painted(**odd(tmp_path))

    desk.export(tmp_path / "out", plain, labelled, format=layout, shard_images=3)
    found = load(tmp_path / "out")["train"]

    assert len(found) == 16
    rows = [row["json"] if layout == "webdataset" else row for row in found]
    assert {row["job"] for row in rows} == {plain, labelled}
    assert {row["label_color.name"] or "" for row in rows} == {"", "red.light", "blue"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_takes_of_an_image_have_names_without_dots(desk: ExportDesk, load: Any, tmp_path: Path, layout: str) -> None:
    job = desk.painted(axes={"seed": {"count": 3}})
    desk.renumber(job, {2: number_of(1, take=2)})
    desk.change(job, 0, linked_job="k3v9", linked_number=number_of(7, take=1))

    desk.export(tmp_path / "out", job, format=layout)

    assert len(load(tmp_path / "out")["train"]) == 3
    (row,) = [row for row in table(tmp_path / "out") if row["take"] == 2]
    assert (row["image_id"], row["parent"]) == (f"{job}/1.2", f"{job}/1")
    assert [row["linked_from"] for row in table(tmp_path / "out")] == ["k3v9/7.1", None, None]
    assert PurePosixPath(row["file_name"]).stem == "000000001-2"


def test_parquet_keeps_bytes_and_types(desk: ExportDesk, load: Any, tmp_path: Path) -> None:
    job = desk.painted(axes={"guidance_scale": [None, 7.5]}, prompt="a")

    desk.export(tmp_path / "out", job, format="parquet", cls="scheduler")
    (tmp_path / "out" / "README.md").unlink()  # the file alone tells what it holds
    data = load(tmp_path / "out" / "data")["train"]

    assert type(data.features["image"]).__name__ == "Image"
    assert data.features["cls"].names == ["own"]
    assert [row["guidance_scale"] for row in data] == [desk.images(job)[0].guidance_scale, 7.5]
    undecoded = pq.read_table(tmp_path / "out" / "data" / "train-000000.parquet").to_pylist()
    assert [hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in undecoded] == [
        row.sha256 for row in desk.images(job).values()
    ]


@pytest.mark.parametrize(("encode", "suffix"), [(None, "png"), ("jpeg", "jpg"), ("webp", "webp")])
@pytest.mark.parametrize("named", ["", ".png", ".jpg", ".JPEG", ".v1", ".v1.png"])
def test_a_folder_with_captions_has_a_text_beside_each_picture_and_names_by_pattern(
    desk: ExportDesk, tmp_path: Path, encode: str | None, suffix: str, named: str
) -> None:
    job = desk.painted(axes={"prompt": ["a fox: v1.5", "../b"], "scheduler": ["ddim"]})

    pattern = f"{{scheduler}}/{{prompt}}_{{seed}}{named}"
    desk.export(tmp_path / "out", job, format="folder", captions=True, name=pattern, encode=encode)

    files = sorted(str(path.relative_to(tmp_path / "out" / "data")) for path in (tmp_path / "out/data").rglob("*.*"))
    version = ".v1" if ".v1" in named else ""
    stems = [f"train/ddim/{stem}{version}" for stem in ("000000000_a-fox-v1.5_0", "000000001_b_0")]
    assert files == sorted(f"{stem}.{end}" for stem in stems for end in (suffix, "txt"))
    assert (tmp_path / f"out/data/{stems[1]}.txt").read_text() == "../b"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_can_be_made_smaller_and_another_format(
    desk: ExportDesk, load: Any, tmp_path: Path, layout: str
) -> None:
    job = desk.painted(axes={"seed": {"count": 2}}, prompt="a secret fox")

    desk.export(tmp_path / "out", job, format=layout, size="8x8", encode="jpeg", quality=90, prompts=False)
    found = load(tmp_path / "out")["train"]

    column = "jpg" if layout == "webdataset" else "image"
    assert {row[column].size for row in found} == {(8, 8)}
    files = pictures(tmp_path / "out", layout)
    assert len(files) == 2
    for data in files:
        with Image.open(io.BytesIO(data)) as opened:
            assert opened.format == "JPEG"
        assert b"trainedAlgorithmicMedia" in data
        assert b"secret" not in data


def test_metadata_can_be_taken_out_of_png_files_without_touching_pixels(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(axes={"seed": {"count": 1}}, prompt="a fox")

    desk.export(tmp_path / "full", job, format="folder", metadata="full")
    desk.export(tmp_path / "none", job, format="folder", metadata="none")

    (full,), (bare,) = pictures(tmp_path / "full", "folder"), pictures(tmp_path / "none", "folder")
    with Image.open(io.BytesIO(full)) as told, Image.open(io.BytesIO(bare)) as silent:
        assert "a fox" in told.text["seedfarm"]  # type: ignore[attr-defined]
        assert silent.info == {}
        assert told.tobytes() == silent.tobytes() == Image.open(io.BytesIO(picture_of(desk, job))).tobytes()


def test_a_picture_that_is_written_anew_still_names_its_watermark(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(axes={"seed": {"count": 1}}, output={"watermark": "stamp"})

    desk.export(tmp_path / "same", job, format="folder", metadata="full")
    desk.export(tmp_path / "small", job, format="folder", size="8x8")

    (same,), (small,) = pictures(tmp_path / "same", "folder"), pictures(tmp_path / "small", "folder")
    assert read(same).record["edits"] == {"watermark": "stamp"}
    assert read(small).record["edits"] == {"watermark": "stamp", "size": [8, 8]}


def picture_of(desk: ExportDesk, job: str) -> bytes:
    key = desk.images(job)[0].key
    assert key is not None
    return desk.store.get(key)


def samples(folder: Path) -> list[dict[str, Any]]:
    """What webdataset reads, without decoding."""
    shards = [str(path) for path in sorted((folder / "data").glob("*.tar"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing its files to the garbage collector
        import webdataset

        found = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
        gc.collect()
    return found


def pictures(folder: Path, layout: str) -> list[bytes]:
    """The bytes of every picture of an export."""
    if layout == "webdataset":
        return [sample.get("jpg", sample.get("png")) for sample in samples(folder)]
    if layout == "parquet":
        files = sorted((folder / "data").glob("*.parquet"))
        return [row["image"]["bytes"] for file in files for row in pq.read_table(file).to_pylist()]
    found = [path for path in sorted((folder / "data").rglob("*.*")) if path.suffix in (".png", ".jpg", ".webp")]
    return [path.read_bytes() for path in found]
