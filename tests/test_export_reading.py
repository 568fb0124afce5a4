"""What an export tells those who read it: `datasets`, which remembers folders, and people who read the card."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.export.engine import Way
from export_desk import ExportDesk, opened_desk

LAYOUTS = ["webdataset", "imagefolder", "parquet", "folder"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ExportDesk]:
    with opened_desk(tmp_path) as desk:
        yield desk


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """`datasets.load_dataset` on a folder, offline; its cache stays from call to call."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets

    def load(folder: Path) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            return datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))

    return load


@pytest.mark.parametrize("layout", LAYOUTS)
def test_who_read_an_export_before_sees_what_it_grew_by(
    desk: ExportDesk, load: Callable[[Path], Any], tmp_path: Path, layout: str
) -> None:
    few, more = desk.painted(axes={"seed": {"count": 3}}), desk.painted(axes={"seed": {"start": 9, "count": 2}})
    desk.export(tmp_path / "out", few, format=layout)
    assert len(load(tmp_path / "out")) == 3

    desk.export(tmp_path / "out", few, more, format=layout, way=Way(append=True))

    assert len(load(tmp_path / "out")) == 5


@pytest.mark.parametrize("layout", ["webdataset", "imagefolder"])
def test_a_card_says_what_the_numbers_of_classes_mean(desk: ExportDesk, tmp_path: Path, layout: str) -> None:
    job = desk.painted(axes={"scheduler": ["euler_a", "ddim"]}, prompt="a")

    desk.export(tmp_path / "out", job, format=layout, cls="scheduler")

    card = (tmp_path / "out" / "README.md").read_text()
    assert "`cls` is `scheduler` as a number:\n\n| cls | scheduler |\n" in card
    assert "| 0 | ddim |\n| 1 | euler\\_a |\n" in card


def test_a_card_says_which_images_its_numbers_are_of(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(axes={"prompt": ["a", "b"], "seed": {"count": 3}})

    desk.export(tmp_path / "all", job, format="parquet")
    desk.export(tmp_path / "few", job, where="prompt = 'b|<i>' or seed > 0", limit=2)
    desk.export(tmp_path / "mute", job, where="prompt = 'b'", prompts=False)

    cards = {name: (tmp_path / name / "README.md").read_text() for name in ("all", "few", "mute")}
    assert "## What was chosen" not in cards["all"]
    assert "| `--where` | prompt = 'b&#124;&lt;i&gt;' or seed &gt; 0 |\n| `--limit` | 2 |" in cards["few"]
    assert "Further images of the jobs are not in it" in cards["few"]
    assert "| `--where` | *withheld* |" in cards["mute"]
