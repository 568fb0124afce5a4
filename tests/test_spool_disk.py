"""The files of a spool: what fits, what is refused, what is thrown away."""

import os
from pathlib import Path
from typing import Any

import pytest

from moody_store import ALWAYS, MoodyStore
from spool_life import RUN, Life, image, manifest_of, sent, whole_in_spool
from storage.errors import DiskFull, StoreAway
from worker.runs.storing.spool import Disk
from worker.runs.storing.spool.disk import MANIFEST, spooled_run


def test_a_manifest_is_sent_after_everything_that_it_names(tmp_path: Path) -> None:
    store = MoodyStore(tmp_path / "store")
    life = Life(tmp_path, store)

    life.live({"bbbbbbbbbb": 3, "aaaaaaaaaa": 2}, direct=0)

    ends = [place for place, key in enumerate(store.stored) if key.endswith(MANIFEST)]
    assert ends == [3, 6]


def test_a_full_spool_takes_no_image_and_every_manifest(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "spool", cap=100)
    disk.open()
    disk.write(RUN, "000000000.png", bytes(60))

    with pytest.raises(DiskFull):
        disk.write(RUN, "000000001.png", bytes(41))
    disk.write(RUN, MANIFEST, bytes(500))

    assert disk.held == 560


def test_a_spool_of_no_bytes_takes_nothing(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "spool", cap=0)
    disk.open()

    with pytest.raises(DiskFull):
        disk.write(RUN, MANIFEST, b"{}")


def test_a_disk_that_is_full_counts_as_a_full_spool_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path / "spool", cap=10**6)
    disk.open()
    disk.write(RUN, "000000000.png", b"a picture")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull):
            disk.write(RUN, "000000001.png", b"another")

    assert [file.name for file in (tmp_path / "spool" / RUN).iterdir()] == ["000000000.png"]
    assert disk.held == 9


def test_the_cap_counts_what_an_earlier_process_left(tmp_path: Path) -> None:
    store = MoodyStore(tmp_path / "store")
    store.away = ALWAYS
    first = Life(tmp_path, store)
    first.live({RUN: 2}, direct=0)
    first.disk.close()

    second = Life(tmp_path, store)
    second.spool.resume()

    assert second.disk.held == first.disk.held > 0
    assert [name.chunk for name in second.level.spooled] == [1]


def test_a_folder_that_another_process_holds_is_left_alone(tmp_path: Path) -> None:
    first, second = Disk(tmp_path / "spool", cap=100), Disk(tmp_path / "spool", cap=100)
    first.open()
    first.write(RUN, "000000000.png", b"a picture")

    assert second.open() is None
    with pytest.raises(DiskFull):
        second.write(RUN, "000000001.png", b"another")

    assert (tmp_path / "spool" / RUN / "000000000.png").exists()


@pytest.mark.parametrize(
    ("run", "name"),
    [
        pytest.param("../../etc/x", "a.png", id="run with a path"), pytest.param("short", "a.png", id="no run"),
        pytest.param(RUN, "../a.png", id="name with a path"), pytest.param(RUN, "..", id="dots"),
        pytest.param(RUN, ".hidden", id="hidden"), pytest.param(RUN, "", id="empty"),
        pytest.param(RUN, "A\0.png", id="NUL"),
    ],
)  # fmt: skip
def test_a_name_that_is_no_part_of_a_key_is_refused(tmp_path: Path, run: str, name: str) -> None:
    disk = Disk(tmp_path / "spool", cap=10**6)
    disk.open()

    with pytest.raises(ValueError, match="no object of a run"):
        disk.write(run, name, b"x")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"job": "../../other"}, id="a job outside"),
        pytest.param({"run": "zzzzzzzzzz"}, id="another run"),
        pytest.param({"images": [manifest_of("zzzzzzzzzz", 1).images[0]]}, id="keys of another run"),
    ],
)
def test_a_manifest_that_leads_elsewhere_is_thrown_away(tmp_path: Path, damage: dict[str, Any]) -> None:
    store = MoodyStore(tmp_path / "store")
    folder = tmp_path / "spool" / RUN
    folder.mkdir(parents=True)
    (folder / "000000000.png").write_bytes(image(RUN, 0))
    (folder / MANIFEST).write_text(manifest_of(RUN, 1, changes=damage).model_dump_json())
    life = Life(tmp_path, store)

    life.spool.resume()
    life.send_all()

    assert (store.stored, folder.exists()) == ([], False)


def test_a_picture_of_other_bytes_than_its_manifest_says_is_never_sent(tmp_path: Path) -> None:
    store = MoodyStore(tmp_path / "store")
    store.away = ALWAYS
    life = Life(tmp_path, store)
    life.live({RUN: 2}, direct=0)
    (tmp_path / "spool" / RUN / "000000001.png").write_bytes(b"other")
    store.away = 0

    life.send_all()

    assert sent(store) == {}
    assert (whole_in_spool(tmp_path), life.level.spooled) == (set(), ())


def test_a_link_in_the_spool_is_not_followed(tmp_path: Path) -> None:
    store = MoodyStore(tmp_path / "store")
    store.away = ALWAYS
    life = Life(tmp_path, store)
    life.live({RUN: 1}, direct=0)
    (tmp_path / "secret").write_text("a password")
    (tmp_path / "spool" / RUN / "000000009.png").symlink_to(tmp_path / "secret")
    store.away = 0

    life.send_all()

    assert [key for key in store.stored if key.endswith("9.png")] == []
    assert set(sent(store)) == {RUN}


def test_what_is_no_run_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "notes.txt").write_text("of the operator")
    life = Life(tmp_path, MoodyStore(tmp_path / "store"))

    life.spool.resume()

    assert (tmp_path / "spool" / "notes.txt").exists()


def test_an_object_that_the_store_never_takes_does_not_hold_up_other_runs(tmp_path: Path) -> None:
    store = MoodyStore(tmp_path / "store")
    store.refuses = lambda key: "1.1-aaaaaaaaaa" in key
    life = Life(tmp_path, store)

    life.live({"aaaaaaaaaa": 1, "bbbbbbbbbb": 1}, direct=0)

    assert set(sent(store)) == {"bbbbbbbbbb"}
    assert [name.chunk for name in life.level.spooled] == [1]


def test_a_run_keeps_to_its_own_prefix() -> None:
    with pytest.raises(ValueError, match="not its own"):
        spooled_run(manifest_of(RUN, 1, changes={"images": manifest_of("zzzzzzzzzz", 1).images}))


def test_a_library_s_own_error_counts_as_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MoodyStore(tmp_path / "store")
    life = Life(tmp_path, store)

    def cut_off(*_: Any, **__: Any) -> None:
        raise EOFError("the connection was cut")

    monkeypatch.setattr(store, "put", cut_off)

    with pytest.raises(StoreAway, match="EOFError: the connection was cut"):
        life.spool.put("jobs/a", b"", content_type="x")
