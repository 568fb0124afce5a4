"""What options of an export mean, and which are refused before anything is written."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.export.beginning import check_wish, new_index, with_classes
from dispatcher.export.loading import ImageUnreadable
from dispatcher.export.options import ExportOptions
from dispatcher.export.sources import sources_of
from dispatcher.export.targets import FolderTarget
from export_desk import ExportDesk, hashes, opened_desk, table
from input_pictures import png, write
from storage.errors import InvalidSpec, UnknownName

FOX, HARE = (f"sha256:{hashlib.sha256(png(shade)).hexdigest()}" for shade in (0, 1))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExportDesk]:
    monkeypatch.setattr("dispatcher.export.card.finishing.finish", lambda target, index, jobs: None)
    with opened_desk(tmp_path) as desk:
        yield desk


def test_a_limit_takes_the_first_images(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted()

    desk.export(tmp_path / "out", job, limit=5, shard_images=2)

    assert [row["number"] for row in table(tmp_path / "out")] == [0, 1, 2, 3, 4]


def test_a_dry_run_counts_and_writes_nothing(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(fail=[3])

    found = desk.exporter(FolderTarget(tmp_path / "out"), job, shard_images=4).forecast()

    assert (found["images"], found["rejected"], found["shards"]) == (15, 1, 4)
    assert not (tmp_path / "out").exists()


def test_shards_are_cut_by_the_mean_size_of_images(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted()
    for number in range(16):
        desk.change(job, number, bytes=900_000)

    tars = desk.exporter(FolderTarget(tmp_path / "out"), job).forecast()
    parquet = desk.exporter(FolderTarget(tmp_path / "out"), job, format="parquet").forecast()

    assert (tars["shard_images"], parquet["shard_images"]) == (1000, 500)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({"cls": "steps"}, InvalidSpec, id="a number as class"),
        pytest.param({"cls": "colour"}, UnknownName, id="an unknown class"),
        pytest.param({"caption": "promt"}, UnknownName, id="an unknown caption"),
        pytest.param({"split": "train=0.9,test=0.2"}, InvalidSpec, id="shares above 1"),
        pytest.param({"split": "rejected=1"}, InvalidSpec, id="a taken name"),
        pytest.param({"quality": 80}, InvalidSpec, id="quality of png"),
        pytest.param({"size": "0x9"}, InvalidSpec, id="no size"),
        pytest.param({"cls": "negative_prompt"}, InvalidSpec, id="a class that images lack"),
        pytest.param({"format": "folder", "name": "{nope}"}, InvalidSpec, id="a name of nothing"),
        pytest.param({"format": "folder", "name": "{seed:{nope}}"}, InvalidSpec, id="a width of nothing"),
        pytest.param({"format": "folder", "name": "{seed"}, InvalidSpec, id="no name"),
        pytest.param({"format": "folder", "name": "{}"}, InvalidSpec, id="a name without a name"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    desk: ExportDesk, tmp_path: Path, options: dict[str, Any], error: type[Exception]
) -> None:
    job = desk.painted()

    with pytest.raises(error):
        desk.export(tmp_path / "out", job, **options)

    assert hashes(tmp_path / "out") == {}


def test_a_run_that_ended_before_its_first_file_pins_no_options(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted()
    key = desk.images(job)[0].key
    assert key is not None
    kept = desk.store.get(key)
    desk.store.delete([key])
    with pytest.raises(ImageUnreadable):
        desk.export(tmp_path / "out", job, shard_images=4)
    desk.store.put(key, kept)

    desk.export(tmp_path / "out", job, shard_images=8)

    assert [len(table(tmp_path / "out"))] == [16]
    assert sorted(path.name for path in (tmp_path / "out" / "data").iterdir()) == [
        "train-000000.tar",
        "train-000001.tar",
    ]


def test_names_of_files_cannot_depend_on_who_made_them(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted()

    with pytest.raises(InvalidSpec, match="worker"):
        desk.export(tmp_path / "out", job, format="folder", name="{worker}-{seed}")


def from_pictures(desk: ExportDesk, folder: Path) -> str:
    """A job that starts from a fox and a hare."""
    for shade, name in enumerate(("fox.png", "hare.png")):
        write(folder / name, png(shade))
    return desk.painted(mode="image-to-image", axes={"init_image": ["fox.png", "hare.png"], "seed": [1]}, prompt="a")


def test_input_pictures_are_compared_by_name_and_their_hash_is_refused_with_it(
    desk: ExportDesk, tmp_path: Path
) -> None:
    job = from_pictures(desk, tmp_path)
    desk.export(tmp_path / "out", job, where="init_image = 'hare.png'")

    assert [row["init_image"] for row in table(tmp_path / "out")] == [HARE]
    for text in (f"init_image = '{HARE}'", f"not (seed = 2 or init_image in ('x', '{HARE}'))"):
        with pytest.raises(InvalidSpec, match=r"pictures are compared by their names: write 'hare.png'"):
            desk.export(tmp_path / "none", job, where=text)


def test_a_picture_without_a_file_is_compared_by_its_hash(desk: ExportDesk, tmp_path: Path) -> None:
    from_pictures(desk, tmp_path)  # the store has them from here on
    job = desk.painted(mode="image-to-image", axes={"init_image": [FOX, HARE]}, prompt="a")

    desk.export(tmp_path / "out", job, where=f"init_image = '{HARE}'")

    assert [row["init_image"] for row in table(tmp_path / "out")] == [HARE]


@pytest.mark.parametrize("column", ["init_image", "mask"])
def test_pictures_are_no_classes(desk: ExportDesk, tmp_path: Path, column: str) -> None:
    job = from_pictures(desk, tmp_path)

    with pytest.raises(InvalidSpec, match=f"--cls = '{column}': tells pictures, .*; choose a label or a column"):
        desk.export(tmp_path / "out", job, cls=column)

    assert hashes(tmp_path / "out") == {}


def test_classes_that_come_while_an_export_is_planned_go_behind_the_others(desk: ExportDesk) -> None:
    job = desk.painted(axes={"scheduler": ["euler"], "seed": {"count": 2}})
    wish = check_wish(sources_of(desk.farm, [job]), ExportOptions(cls="scheduler"))
    index = new_index(desk.database, wish)
    desk.change(job, 1, scheduler="ddim")

    assert index.classes == ("euler",)
    assert with_classes(desk.database, wish, index).classes == ("euler", "ddim")
