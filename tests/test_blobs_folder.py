"""What only the folder store can get wrong: temporary files, pruning, full and vanished disks."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.blobs import FolderStore, open_store
from storage.blobs.folder import STALE_S
from storage.errors import BlobMissing, DiskFull, StoreAway

names = st.text("ab.-_0", min_size=1, max_size=3).filter(lambda name: not name.startswith("."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "blobs")
    store.check()
    return store


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """Return a volume of 256 kB."""
    volume = tmp_path / "volume"
    volume.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(volume)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount")
    yield volume
    subprocess.run(["umount", str(volume)], check=True)


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def without_conflicts(keys: set[str]) -> list[str]:
    """Drop keys that are folders of others."""
    return sorted(key for key in keys if not any(other.startswith(f"{key}/") for other in keys))


@settings(max_examples=60)
@given(keys=st.sets(paths, max_size=12).map(without_conflicts), prefix=st.one_of(st.just(""), paths))
def test_a_listing_is_the_sorted_keys_with_that_prefix(keys: list[str], prefix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        store.check()
        for key in keys:
            store.put(key, b"")

        listed = [info.key for info in store.list(prefix)]

    assert listed == [key for key in keys if key.startswith(prefix)]


def test_more_keys_than_a_page_of_s3_are_listed_in_order(store: FolderStore) -> None:
    made = [f"jobs/{number % 37}/{number}.png" for number in range(1200)]
    for key in made:  # as another process would have; putting them costs a flush each
        path = Path(store.locate(key))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert [info.key for info in store.list("jobs/")] == sorted(made)


def test_a_listing_reads_no_further_than_it_is_asked(store: FolderStore) -> None:
    store.put("a/1", b"")
    store.put("b/1", b"")
    listing = store.list("")

    first = next(listing)
    store.delete(["b/1"])

    assert first.key == "a/1"
    assert list(listing) == []


def test_what_a_killed_writer_left_is_never_listed(store: FolderStore) -> None:
    store.put("whole", b"1")
    draft = store.root / ".tmp" / "0123"
    draft.write_bytes(b"half")

    assert [info.key for info in store.list("")] == ["whole"]
    assert draft.exists()


def test_check_sweeps_old_drafts_and_spares_young_ones(store: FolderStore) -> None:
    old, young = store.root / ".tmp" / "old", store.root / ".tmp" / "young"
    for draft in (old, young):
        draft.touch()
    os.utime(old, (0, young.stat().st_mtime - STALE_S - 60))

    store.check()

    assert not old.exists()
    assert young.exists()


def test_foreign_files_are_passed_over(store: FolderStore) -> None:
    for name in ["Thumbs.db", ".hidden", "a b", "LOST/x"]:
        path = store.root / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    assert list(store.list("")) == []


def test_a_kill_before_the_rename_shows_nothing(store: FolderStore) -> None:
    program = (
        "import os, sys; from pathlib import Path; from storage.blobs import FolderStore\n"
        "Path.replace = lambda *_: os._exit(9)\n"
        "FolderStore(Path(sys.argv[1])).put('key', b'value')"
    )

    killed = subprocess.run([sys.executable, "-c", program, str(store.root)], check=False)

    assert killed.returncode == 9
    assert list(store.list("")) == []
    assert len(files_under(store.root)) == 1


def test_a_put_survives_deletes_that_prune_its_folder(store: FolderStore) -> None:
    def put_then_delete(writer: int) -> None:
        for turn in range(60):
            key = f"deep/er/{turn % 2}/{writer}"
            store.put(key, b"%d" % turn)
            assert store.get(key) == b"%d" % turn
            store.delete([key])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put_then_delete, range(4)))

    assert [path.name for path in store.root.iterdir()] == [".tmp"]


def test_a_full_volume_is_named_and_leaves_nothing(small_volume: Path) -> None:
    store = FolderStore(small_volume / "blobs")
    store.check()
    store.put("before", b"x" * 1000)

    with pytest.raises(DiskFull) as caught:
        store.put("jobs/big", b"x" * 400_000)

    assert caught.value.args == (store.locate("jobs/big"),)
    assert [path.name for path in files_under(store.root)] == ["before"]
    assert store.get("before") == b"x" * 1000


def test_a_limit_on_file_size_counts_as_full(store: FolderStore) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from storage.blobs import FolderStore\n"
        "from storage.errors import DiskFull\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: FolderStore(Path(sys.argv[1])).put('key', b'x' * 2000)\n"
        "except DiskFull as error: sys.exit(str(error))"
    )

    limited = subprocess.run(
        [sys.executable, "-c", program, str(store.root)], check=False, capture_output=True, text=True
    )

    assert limited.stderr.startswith(f"no space left to write {store.locate('key')}")
    assert files_under(store.root) == []


def test_an_unmounted_volume_is_away_though_its_folder_is_there(store: FolderStore) -> None:
    store.put("key", b"x")
    mounted = store.root.rename(store.root.with_name("mounted"))
    store.root.mkdir()

    with pytest.raises(StoreAway, match="not mounted"):
        store.get("key")
    with pytest.raises(StoreAway, match="not mounted"):
        store.put("other", b"x")

    store.root.rmdir()
    mounted.rename(store.root)
    assert store.get("key") == b"x"


def test_a_root_that_cannot_be_made_is_away(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreAway, match="Not a directory"):
        open_store(str(tmp_path / "file" / "blobs")).check()


def test_a_key_under_another_key_is_a_bug(store: FolderStore) -> None:
    store.put("a", b"")
    store.put("b/c", b"")

    for key in ("a/b", "a/b/c", "b"):
        with pytest.raises(ValueError, match="folder of another key"):
            store.put(key, b"")
    with pytest.raises(BlobMissing):
        store.get("a/b")
    assert [info.key for info in store.list("")] == ["a", "b/c"]
    assert list((store.root / ".tmp").iterdir()) == []


def test_a_path_is_where_a_person_finds_it(store: FolderStore) -> None:
    store.put("jobs/1.png", b"png")

    assert Path(store.locate("jobs/1.png")).read_bytes() == b"png"
