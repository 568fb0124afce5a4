"""Two shards are filled at a time and placed behind each other; what was placed counts, whatever comes after it."""

import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.export.counting import Progress
from dispatcher.export.formats.webdataset import _header
from dispatcher.export.index import INDEX
from dispatcher.export.targets import FolderTarget, TargetRefused
from export_desk import ExportDesk, hashes, opened_desk
from storage.errors import StoreAway


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExportDesk]:
    monkeypatch.setattr("dispatcher.export.card.finishing.finish", lambda target, index, jobs: None)
    with opened_desk(tmp_path) as desk:
        yield desk


class Slow(FolderTarget):
    """Places no shard before `go`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go = threading.Event()
        self.taken: list[str] = []

    def take(self, name: str, draft: Path) -> None:
        if not name.startswith(".farm/"):
            assert self.go.wait(60)
            self.taken.append(name)
        super().take(name, draft)


class Full(FolderTarget):
    """Refuses the tar of the second shard."""

    def take(self, name: str, draft: Path) -> None:
        if name == "data/train-000001.tar":
            raise StoreAway(self.address, "no answer")
        super().take(name, draft)


def test_the_next_shard_is_read_while_one_is_being_placed(
    desk: ExportDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = desk.painted(axes={"prompt": ["a"], "seed": {"count": 12}})
    target, read, get = Slow(tmp_path / "out"), list[str](), desk.store.get

    def watched(key: str) -> bytes:
        read.append(key)
        if len(read) == 9:  # the first two shards, which are filled together, hold eight; none is in its place yet
            assert target.taken == []
            target.go.set()
        return get(key)

    monkeypatch.setattr(desk.store, "get", watched)
    desk.export(target, job, shard_images=4)

    names = [
        f"{folder}/train-00000{place}.{end}"
        for place in range(3)
        for folder, end in (("metadata", "parquet"), ("data", "tar"))
    ]
    assert target.taken == names


def test_a_shard_that_cannot_be_placed_leaves_those_before_it(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(axes={"prompt": ["a"], "seed": {"count": 12}})
    desk.export(tmp_path / "whole", job, shard_images=4)

    with pytest.raises(StoreAway):
        desk.export(Full(tmp_path / "out"), job, shard_images=4)
    index = (tmp_path / "out" / INDEX).read_text()
    assert "train-000000" in index
    assert "train-000001" not in index
    assert not (tmp_path / "out" / ".farm" / "drafts").exists()

    outcome = desk.export(tmp_path / "out", job, shard_images=4)
    assert (outcome.kept, outcome.images) == (1, 8)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


def test_no_empty_folder_stays_behind_an_export(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(axes={"prompt": ["a"], "seed": {"count": 12}})
    with pytest.raises(StoreAway):
        desk.export(Full(tmp_path / "out"), job, shard_images=4)

    desk.export(tmp_path / "out", job, shard_images=4)

    assert [path for path in (tmp_path / "out").rglob("*") if path.is_dir() and not any(path.iterdir())] == []


def test_two_shards_are_filled_at_a_time(desk: ExportDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = desk.painted(axes={"prompt": ["a"], "seed": {"count": 12}})
    both, get = threading.Barrier(2), desk.store.get

    def watched(key: str) -> bytes:
        if key in (desk.images(job)[0].key, desk.images(job)[4].key):  # the first of either shard
            both.wait(60)
        return get(key)

    monkeypatch.setattr(desk.store, "get", watched)

    assert desk.export(tmp_path / "out", job, shard_images=4).images == 12


def test_a_shard_that_cannot_be_filled_ends_the_other_and_leaves_no_draft(
    desk: ExportDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = desk.painted(axes={"prompt": ["a"], "seed": {"count": 12}})
    desk.export(tmp_path / "whole", job, shard_images=4)
    second, get = threading.Event(), desk.store.get

    def watched(key: str) -> bytes:
        if key == desk.images(job)[3].key:  # the last of the first shard; by then the second is whole
            assert second.wait(60)
            raise StoreAway(desk.store.address, "no answer")
        return get(key)

    def say(progress: Progress) -> None:
        if progress.done == 7:
            second.set()

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "get", watched)
        with pytest.raises(StoreAway):
            desk.exporter(FolderTarget(tmp_path / "out"), job, shard_images=4).run(say)

    assert not (tmp_path / "out" / ".farm" / "drafts").exists()
    assert (desk.export(tmp_path / "out", job, shard_images=4).kept) == 0
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


def test_an_interrupted_export_ends_at_its_next_picture(desk: ExportDesk, tmp_path: Path) -> None:
    job, heard = desk.painted(axes={"prompt": ["a"], "seed": {"count": 40}}), list[int]()

    def say(progress: Progress) -> None:
        heard.append(progress.done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.exporter(FolderTarget(tmp_path / "out"), job, shard_images=20).run(say)

    assert len(heard) <= 2  # of either shard one


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=100),
    st.integers(0, 8**11 - 1),
)
def test_members_of_a_tar_are_headed_as_the_standard_library_does(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444

    if len(name.encode()) > 100:
        with pytest.raises(ValueError, match="too long"):
            _header(name, size)
    else:
        assert _header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


def test_a_folder_takes_one_export_at_a_time(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted()
    place = FolderTarget(tmp_path / "out")
    place.prepare()

    with place.hold(), pytest.raises(TargetRefused, match="another export works there; wait until it has ended"):
        desk.export(tmp_path / "out", job)

    assert desk.export(tmp_path / "out", job).images == 16
