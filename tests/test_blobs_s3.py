"""What only the S3 store can get wrong, and the URLs that lead to a store."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from servers.program import free_port
from servers.s3 import S3Bucket
from storage.blobs import FolderStore, open_store
from storage.blobs.s3 import S3Store
from storage.errors import InvalidSetting, StoreAway


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.usefixtures("credentials")
def test_a_server_that_does_not_listen_is_away() -> None:
    store = S3Store("farm", endpoint=f"http://127.0.0.1:{free_port()}", attempts=1)

    for use in (
        lambda: store.get("key"),
        lambda: store.head("key"),
        lambda: store.put("key", b""),
        lambda: store.delete(["key"]),
        lambda: next(store.list("")),
        store.check,
    ):
        with pytest.raises(StoreAway, match=r"s3://farm at 127\.0\.0\.1:\d+ does not answer \(cannot connect\)"):
            use()


class Broken(BaseHTTPRequestHandler):
    """Answers 503, and cuts the body of a key called "half"."""

    def do_GET(self) -> None:
        half = self.path.endswith("/half")
        self.send_response(200 if half else 503)
        self.send_header("Content-Length", "10" if half else "0")
        self.end_headers()
        if half:
            self.wfile.write(b"12345")

    do_HEAD = do_PUT = do_GET  # noqa: N815 - the names are http.server's

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def broken_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("credentials")
def test_a_server_that_fails_is_away_and_not_empty(broken_server: str) -> None:
    store = S3Store("farm", endpoint=broken_server, attempts=1)

    for use in (
        lambda: store.get("half"),
        lambda: store.get("key"),
        lambda: store.head("key"),
        lambda: store.put("key", b"x"),
        lambda: store.put_file("key", Path(__file__)),
        lambda: store.get_file("key", Path(os.devnull)),
        lambda: list(store.list("")),
        store.check,
    ):
        with pytest.raises(StoreAway, match=r"HTTP 503|IncompleteRead"):
            use()


class Cutting(BaseHTTPRequestHandler):
    """Has one object of 10 bytes, and breaks the connection after three of them."""

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if self.command == "GET" else 200)
        self.send_header("Content-Length", str(10 - start))
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"0123456789"[start : start + 3])

    do_HEAD = do_GET  # noqa: N815 - the names are http.server's

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("credentials")
def test_a_file_is_continued_when_the_connection_breaks(tmp_path: Path) -> None:
    got: list[int] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Cutting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        store = S3Store("farm", endpoint=f"http://127.0.0.1:{server.server_port}", attempts=1)
        store.get_file("key", tmp_path / "out", tell=got.append)
        server.shutdown()
        thread.join()

    assert (tmp_path / "out").read_bytes() == b"0123456789"
    assert sum(got) == 10


def test_missing_credentials_say_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = S3Store("farm", endpoint="http://127.0.0.1:1")

    with pytest.raises(StoreAway, match="set AWS_ACCESS_KEY_ID"):
        store.get("key")


def test_unknown_credentials_are_refused(monkeypatch: pytest.MonkeyPatch, s3_bucket: S3Bucket) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    store = S3Store(s3_bucket.name, endpoint=s3_bucket.endpoint)

    with pytest.raises(StoreAway, match=r"AWS_ACCESS_KEY_ID|AWS_SECRET_ACCESS_KEY|access denied"):
        store.get("key")


def test_two_prefixes_of_a_bucket_are_two_stores(s3_bucket: S3Bucket) -> None:
    one, two = (S3Store(s3_bucket.name, prefix=name, endpoint=s3_bucket.endpoint) for name in ("one", "two"))
    one.check()

    one.put("key", b"1")
    two.put("key", b"2")

    assert one.get("key") == b"1"
    assert [info.key for info in two.list("")] == ["key"]
    assert one.locate("key") == f"s3://{s3_bucket.name}/one/key"


def test_foreign_objects_are_passed_over(s3_bucket: S3Bucket) -> None:
    for name in ["jobs/", "Notes.txt", "jobs/a b"]:
        s3_bucket.server.client.put_object(Bucket=s3_bucket.name, Key=name, Body=b"")

    assert list(S3Store(s3_bucket.name, endpoint=s3_bucket.endpoint).list("")) == []


def test_an_object_keeps_its_content_type(s3_bucket: S3Bucket) -> None:
    S3Store(s3_bucket.name, endpoint=s3_bucket.endpoint).put("a.png", b"x", content_type="image/png")

    assert s3_bucket.server.client.head_object(Bucket=s3_bucket.name, Key="a.png")["ContentType"] == "image/png"


@pytest.mark.parametrize(
    ("url", "root"),
    [
        pytest.param("/data/farm", "/data/farm", id="path"),
        pytest.param("file:///data/farm", "/data/farm", id="file"),
        pytest.param("file://localhost/data/a%20b", "/data/a b", id="file with host"),
        pytest.param("data", str(Path.cwd() / "data"), id="relative"),
        pytest.param("~/farm", str(Path.home() / "farm"), id="home"),
    ],
)
def test_a_path_opens_a_folder(url: str, root: str) -> None:
    store = open_store(url)

    assert isinstance(store, FolderStore)
    assert store.address == root


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("s3://farm", "s3://farm at host:9000", id="bucket"),
        pytest.param("s3://farm/", "s3://farm at host:9000", id="slash"),
        pytest.param("s3://farm/a/b", "s3://farm/a/b at host:9000", id="prefix"),
    ],
)
def test_s3_opens_a_bucket(url: str, address: str) -> None:
    assert open_store(url, endpoint="http://host:9000").address == address


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "s3:", "s3:farm", "s3://", "s3://a", "s3://Farm", "s3://farm//a", "s3://farm/A", "s3://farm/../x"),
        *(
            "http://host/x",
            "gs://farm",
            "redis://host",
            "file:data",
            "file://host/data",
            "file:///a?b",
            "file:///a%00b",
        ),
    ],
)
def test_another_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        open_store(url)

    assert caught.value.args[:2] == ("FARM_STORE_URL", url)


def test_a_refusal_shows_no_password() -> None:
    with pytest.raises(InvalidSetting) as caught:
        open_store("s3://key:secret@host/farm")

    assert "secret" not in str(caught.value)


def test_a_bad_endpoint_is_refused_by_name() -> None:
    with pytest.raises(InvalidSetting, match="FARM_S3_ENDPOINT = 'host:9000'"):
        open_store("s3://farm", endpoint="host:9000")


def test_a_farm_on_folders_never_loads_boto3() -> None:
    program = "import sys; from storage.blobs import open_store; open_store('x'); sys.exit('boto3' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
