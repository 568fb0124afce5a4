"""What every object store promises, held against a folder and real S3 servers alike."""

import math
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.fixtures import S3_PARTS
from servers.s3 import S3Bucket
from storage.blobs import BlobStore, FolderStore, check_key, is_key, open_store
from storage.blobs.s3 import S3Store
from storage.errors import BlobMissing, StoreAway

PAGE = 3  # small, so that a handful of keys needs several pages
LEGAL = "abcdefghijklmnopqrstuvwxyz0123456789._-"

legal_parts = st.text(LEGAL, min_size=1, max_size=40).filter(lambda part: not part.startswith("."))
legal_keys = st.lists(legal_parts, min_size=1, max_size=8).map("/".join)


@pytest.fixture(params=["folder", *S3_PARTS])
def store(request: pytest.FixtureRequest, tmp_path: Path, use_s3: Callable[[str], S3Bucket]) -> BlobStore:
    if request.param == "folder":
        store: BlobStore = FolderStore(tmp_path / "blobs")
    else:
        bucket = use_s3(request.param)
        store = S3Store(bucket.name, prefix="some/where", endpoint=bucket.endpoint, page_size=PAGE)
    store.check()
    return store


@pytest.fixture(params=["folder", *S3_PARTS])
def vanished(request: pytest.FixtureRequest, tmp_path: Path, use_s3: Callable[[str], S3Bucket]) -> BlobStore:
    """Return a store that was there, and is not any more."""
    if request.param == "folder":
        gone: BlobStore = FolderStore(tmp_path / "blobs")
        gone.check()
        (tmp_path / "blobs").rename(tmp_path / "elsewhere")
    else:
        bucket = use_s3(request.param)
        gone = S3Store(bucket.name, endpoint=bucket.endpoint, attempts=1)
        bucket.remove()
    return gone


def keys(store: BlobStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


@pytest.mark.parametrize(
    "size",
    [pytest.param(0, id="empty"), pytest.param(1, id="one byte"), pytest.param(5_000_000, id="5 MB")],
)
def test_what_was_put_comes_back(store: BlobStore, size: int) -> None:
    data = secrets.token_bytes(size)

    store.put("jobs/a/0.png", data, content_type="image/png")

    assert store.get("jobs/a/0.png") == data


@pytest.mark.parametrize(
    "size",
    [pytest.param(0, id="empty"), pytest.param(1, id="one byte"), pytest.param(70_000_000, id="several parts")],
)
def test_a_file_comes_back_and_is_told_of_byte_by_byte(store: BlobStore, tmp_path: Path, size: int) -> None:
    data = secrets.token_bytes(size)
    (tmp_path / "in").write_bytes(data)
    sent: list[int] = []
    got: list[int] = []

    store.put_file("models/a", tmp_path / "in", tell=sent.append)
    store.get_file("models/a", tmp_path / "out", tell=got.append)

    assert (tmp_path / "out").read_bytes() == data
    assert (sum(sent), sum(got)) == (size, size)
    assert keys(store) == ["models/a"]


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        pytest.param(b"", b"0123456789", id="nothing yet"),
        pytest.param(b"abc", b"abc3456789", id="goes on behind what is there"),
        pytest.param(b"abcdefghij", b"abcdefghij", id="all of it"),
        pytest.param(b"abcdefghijk", b"0123456789", id="more than there is"),
    ],
)
def test_a_file_is_continued_where_it_was_cut_off(store: BlobStore, tmp_path: Path, held: bytes, wanted: bytes) -> None:
    store.put("key", b"0123456789")
    (tmp_path / "out").write_bytes(held)
    got: list[int] = []

    store.get_file("key", tmp_path / "out", tell=got.append)

    assert (tmp_path / "out").read_bytes() == wanted
    assert sum(got) == 10


def test_a_missing_object_makes_no_file(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(BlobMissing):
        store.get_file("models/none", tmp_path / "out")

    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError):
        store.put_file("models/none", tmp_path / "never was")


def test_the_last_put_wins(store: BlobStore) -> None:
    store.put("key", b"a long first value")

    store.put("key", b"second")

    assert store.get("key") == b"second"
    assert keys(store) == ["key"]


def test_a_missing_object_is_an_answer(store: BlobStore) -> None:
    store.put("jobs/a", b"")

    assert store.head("jobs/b") is None
    assert store.head("jobs") is None
    with pytest.raises(BlobMissing) as caught:
        store.get("jobs/b")
    assert caught.value.args == ("jobs/b", store.address)


def test_head_tells_size_and_time(store: BlobStore) -> None:
    before = time.time()

    store.put("key", b"12345")

    info = store.head("key")
    assert info is not None
    assert (info.key, info.size) == ("key", 5)
    assert math.floor(before) <= info.modified <= time.time() + 1  # S3 tells whole seconds, some round up


def test_a_listing_is_in_byte_order_over_several_pages(store: BlobStore) -> None:
    names = ["a-b", "a.b", "a/b", "a/b-c", "a/b.c/d", "a0", "a_b", "b/c/d", "b0"]
    for name in reversed(names):
        store.put(name, name.encode())

    listed = list(store.list(""))

    assert [info.key for info in listed] == names
    assert [info.size for info in listed] == [len(name) for name in names]
    assert all(store.head(info.key) is not None for info in listed)


def test_a_prefix_is_a_string_and_no_folder(store: BlobStore) -> None:
    for name in ["jobs/1/a", "jobs/12/a", "jobs/2/a", "other"]:
        store.put(name, b"")

    found = {prefix: keys(store, prefix) for prefix in ["jobs/1", "jobs/1/", "jobs/1/a", "job", "none/", "jobs/1/a/b"]}

    assert found == {
        "jobs/1": ["jobs/1/a", "jobs/12/a"],
        "jobs/1/": ["jobs/1/a"],
        "jobs/1/a": ["jobs/1/a"],
        "job": ["jobs/1/a", "jobs/12/a", "jobs/2/a"],
        "none/": [],
        "jobs/1/a/b": [],
    }


def test_delete_takes_batches_and_missing_keys(store: BlobStore) -> None:
    names = [f"jobs/{number}" for number in range(2 * PAGE + 1)]
    for name in [*names, "kept"]:
        store.put(name, b"x")

    store.delete(iter([*names, "never/was", "kept/not"]))
    store.delete(names)

    assert keys(store) == ["kept"]
    assert store.head(names[0]) is None


def test_racing_writers_leave_one_whole_value(store: BlobStore) -> None:
    values = [bytes([number]) * 100_000 for number in range(8)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda value: store.put("raced", value), values))

    assert store.get("raced") in values


def test_readers_see_old_or_new_but_never_half(store: BlobStore) -> None:
    values = [b"a" * 200_000, b"b" * 150_000]
    store.put("raced", values[0])

    with ThreadPoolExecutor(4) as threads:
        writes = [threads.submit(store.put, "raced", values[number % 2]) for number in range(10)]
        seen = {future.result() for future in [threads.submit(store.get, "raced") for _ in range(10)]}
        for write in writes:
            write.result()

    assert seen <= set(values)


def test_an_illegal_key_is_refused_by_every_method(store: BlobStore) -> None:
    for key in ["", "/a", "a/", "a//b", "../a", "a/./b", ".tmp/x", "ä", "A", "a b", "a\n", "a" * 256]:
        for use in (partial(store.put, data=b""), store.get, store.head, lambda key: store.delete([key]), store.locate):
            with pytest.raises(ValueError, match="must be parts of"):
                use(key)


def test_an_illegal_prefix_is_refused_before_the_first_page(store: BlobStore) -> None:
    for prefix in ["/", "/a", "a//", "..", ".tmp", "Ä"]:
        with pytest.raises(ValueError, match="must be parts of"):
            store.list(prefix)


def test_a_store_that_is_gone_is_away_and_not_empty(vanished: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    for use in (
        lambda: vanished.put_file("key", tmp_path / "in"),
        lambda: vanished.get_file("key", tmp_path / "out"),
        lambda: vanished.put("key", b"x"),
        lambda: vanished.get("key"),
        lambda: vanished.head("key"),
        lambda: vanished.delete(["key"]),
        lambda: list(vanished.list("")),
        lambda: list(vanished.list("jobs/")),
        lambda: vanished.check(create=False),
    ):
        with pytest.raises(StoreAway) as caught:
            use()
        assert caught.value.args[0] == vanished.address


def test_check_makes_what_is_missing(vanished: BlobStore) -> None:
    vanished.check()

    vanished.check(create=False)
    assert keys(vanished) == []


@given(key=legal_keys)
def test_the_checker_takes_what_the_rule_says(key: str) -> None:
    assert is_key(key) == (len(key) <= 512)


@given(text=st.text(st.sampled_from("ab.-_/A ä\\\n\0"), max_size=8))
def test_the_checker_and_the_file_system_agree_on_what_stays_inside(text: str) -> None:
    parts = text.split("/")
    legal = all(part and not part.startswith(".") and set(part) <= set(LEGAL) for part in parts)

    assert is_key(text) == legal
    if legal:
        assert check_key(text) == text
        assert urlsplit(f"file:///root/{text}").path == f"/root/{text}"


def test_a_store_opened_by_url_finds_what_another_put(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    for url in (f"{s3_bucket.url}/deep/prefix/", str(tmp_path / "a"), f"file://{tmp_path}/b%20c"):
        first = open_store(url, endpoint=s3_bucket.endpoint)
        first.check()
        first.put("key", url.encode())

        assert open_store(url, endpoint=s3_bucket.endpoint).get("key") == url.encode()
