"""Captions beside pictures: what they hold is told by the tables, so that a damaged one is found and made anew."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.export.card.sums import SUMS, read_sums
from dispatcher.export.engine import Way
from dispatcher.export.targets import FolderTarget
from export_desk import ExportDesk, hashes, opened_desk

CAPTIONED = {"format": "folder", "captions": True, "shard_images": 4}
ROWS = """\
seed,mood,file_name,empty
1,sleepy,one.jpg,
2,"wide
awake",two.jpg,
3,Füchse 🦊,,
"""
COLUMNS = [
    None, "prompt", "label.mood", "label_mood", "mood", "label.file_name", "empty", "guidance_scale", "strength",
    "truncated", "labels", "file_name", "sha256_exported",
]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ExportDesk]:
    with opened_desk(tmp_path) as desk:
        yield desk


def labelled(desk: ExportDesk, folder: Path) -> str:
    """A job whose images have labels, of which one is empty and one has no column of its own."""
    (folder / "rows.csv").write_text(ROWS)
    rows = {"file": "rows.csv", "bind": {"seed": "seed"}, "labels": ["mood", "file_name", "empty"]}
    return desk.painted(rows=rows, axes={"prompt": ["a fox", ""]}, guidance_scale=7)


class Watched(FolderTarget):
    """A target that knows which files were hashed or read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[str] = []

    def get(self, name: str) -> bytes:
        self.read.append(name)
        return super().get(name)

    def sha256(self, name: str) -> str:
        self.read.append(name)
        return super().sha256(name)


def edit(path: Path) -> None:
    path.write_text(f"{path.read_text()}, edited")


def empty(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("harm", [edit, empty, Path.unlink])
def test_a_caption_that_is_not_what_its_row_says_is_made_anew(
    desk: ExportDesk, tmp_path: Path, harm: Callable[[Path], Any]
) -> None:
    job = desk.painted(axes={"prompt": ["a fox", "a hare"], "seed": {"count": 4}})
    desk.export(tmp_path / "out", job, **CAPTIONED)
    before = hashes(tmp_path / "out")
    harm(max((tmp_path / "out" / "data").rglob("*.txt")))

    outcome = desk.export(tmp_path / "out", job, way=Way(check=True), **CAPTIONED)

    assert len(outcome.remade) == 1
    assert hashes(tmp_path / "out") == before


@pytest.mark.parametrize("column", COLUMNS)
def test_sums_are_those_of_the_captions_whatever_they_are_made_of(
    desk: ExportDesk, tmp_path: Path, column: str | None
) -> None:
    job, target = labelled(desk, tmp_path), Watched(tmp_path / "out")

    desk.export(target, job, caption=column, **CAPTIONED)
    again = desk.export(tmp_path / "out", job, caption=column, way=Way(check=True), **CAPTIONED)

    told = dict(read_sums((tmp_path / "out" / SUMS).read_text()))
    assert sum(name.endswith(".txt") for name in told) == 6
    assert told == {name: sha256 for name, sha256 in hashes(tmp_path / "out").items() if name != SUMS}
    assert not [name for name in target.read if name.endswith(".txt")]
    assert again.remade == ()


@pytest.mark.parametrize("suffix", ["png", "txt"])
def test_what_was_damaged_or_lost_is_not_certified_by_a_plain_repeat(
    desk: ExportDesk, tmp_path: Path, suffix: str
) -> None:
    job = desk.painted()
    desk.export(tmp_path / "out", job, **CAPTIONED)
    before = (tmp_path / "out" / SUMS).read_text()
    max((tmp_path / "out" / "data").rglob("*.txt")).unlink()
    damaged = min((tmp_path / "out" / "data").rglob(f"*.{suffix}"))
    damaged.write_bytes(damaged.read_bytes() + b"x")

    desk.export(tmp_path / "out", job, **CAPTIONED)

    told = dict(read_sums((tmp_path / "out" / SUMS).read_text()))
    for name, sha256 in read_sums(before):
        if name.startswith("data/"):
            assert told[name] == sha256


def test_captions_are_empty_in_a_job_without_the_label(desk: ExportDesk, tmp_path: Path) -> None:
    jobs = desk.painted(axes={"seed": {"count": 6}}, prompt="a"), labelled(desk, tmp_path)

    desk.export(tmp_path / "out", *jobs, caption="label.file_name", **CAPTIONED)
    again = desk.export(tmp_path / "out", *jobs, caption="label.file_name", way=Way(check=True), **CAPTIONED)

    texts = [path.read_text() for path in sorted((tmp_path / "out" / "data").rglob("*.txt"))]
    assert sorted(texts) == [*[""] * 8, "one.jpg", "one.jpg", "two.jpg", "two.jpg"]
    assert again.remade == ()
    told = dict(read_sums((tmp_path / "out" / SUMS).read_text()))
    assert told == {name: sha256 for name, sha256 in hashes(tmp_path / "out").items() if name != SUMS}
