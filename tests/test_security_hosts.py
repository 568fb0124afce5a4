"""Input images of other hosts: what a host answers is believed as far as it goes, and no further."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from input_pictures import png
from picture_host import certificate
from ssrf_watch import Watched, refusal, watch
from storage.spec.file import remote


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    with watch(monkeypatch) as watched:
        yield watched


Script = Callable[[ssl.SSLSocket], None]


@contextmanager
def lying_host(folder: Path, monkeypatch: pytest.MonkeyPatch, script: Script) -> Iterator[str]:
    """A TLS host that reads a request and then does as the script says; gives its name with port."""
    pem = certificate(folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                line, _ = listener.accept()
                with context.wrap_socket(line, server_side=True) as talk:
                    talk.recv(65536)
                    script(talk)
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"localhost:{listener.getsockname()[1]}"
    over.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=5)


def says(*pieces: bytes, pause_s: float = 0.0, times: int = 1) -> Script:
    def script(talk: ssl.SSLSocket) -> None:
        for piece in pieces[:-1]:
            talk.sendall(piece)
        for _ in range(times):
            talk.sendall(pieces[-1])
            time.sleep(pause_s)

    return script


def listed(name: str) -> frozenset[str]:
    return frozenset({name, f"127.0.0.1:{name.partition(':')[2]}"})


OK = b"HTTP/1.1 200 OK\r\n"
TOO_MUCH, NO_PICTURE, NO_ANSWER = "has more than 5000 bytes", "is no PNG", "cannot be fetched"
GZIPPED = gzip.compress(bytes(50_000_000))
LIES = [
    pytest.param(says(OK + b"Content-Length: 999999999999\r\n\r\nx"), TOO_MUCH, id="announces too much"),
    pytest.param(says(OK + b"\r\n", bytes(1000), times=50), TOO_MUCH, id="sends too much"),
    pytest.param(says(OK + b"Content-Length: 10\r\n\r\n", bytes(4000)), NO_PICTURE, id="sends more than it announces"),
    pytest.param(says(OK + b"Content-Length: 4000\r\n\r\n", bytes(100)), "was cut short at 100", id="cut short"),
    pytest.param(says(OK + b"Content-Length: -5\r\n\r\n", bytes(100)), NO_PICTURE, id="a negative length"),
    pytest.param(says(OK + b"Content-Length: x\r\n\r\n", bytes(100)), NO_PICTURE, id="a length that is none"),
    pytest.param(
        says(OK + b"Content-Encoding: gzip\r\n\r\n", GZIPPED), TOO_MUCH, id="a gzip bomb, large"
    ),
    pytest.param(
        says(OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(png())), NO_PICTURE, id="gzip is never unpacked"
    ),
    pytest.param(
        says(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + bytes(1000) + b"\r\n", times=20),
        TOO_MUCH, id="chunks without end",
    ),
    pytest.param(says(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), NO_ANSWER, id="a chunk of no length"),
    pytest.param(says(OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n"), NO_ANSWER, id="a header too long"),
    pytest.param(says(OK, b"X: y\r\n", times=300), NO_ANSWER, id="too many headers"),
    pytest.param(says(b"SSH-2.0-OpenSSH_9.6\r\n"), NO_ANSWER, id="another protocol"),
    pytest.param(says(b""), NO_ANSWER, id="no answer"),
    pytest.param(says(OK + b"Content-Type: image/png\r\n\r\n<html>"), NO_PICTURE, id="a page, said to be a picture"),
    pytest.param(says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "the host answers 304", id="not modified"),
    pytest.param(says(b"HTTP/1.1 302 Found\r\n\r\n"), "the host answers 302", id="sent on to nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "message"), LIES)
def test_a_host_that_lies_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, message: str
) -> None:
    with lying_host(tmp_path, monkeypatch, script) as name:
        said = refusal(f"https://{name}/x.png", listed(name), input_bytes=5000)

    assert message in said


SLOW = [
    pytest.param(says(OK, b"X", pause_s=0.05, times=200), id="headers"),
    pytest.param(says(OK + b"\r\n", b"x", pause_s=0.05, times=200), id="body"),
    pytest.param(says(OK + b"Content-Length: 900\r\n\r\n", b"x", pause_s=0.05, times=200), id="announced body"),
    pytest.param(says(b"", b"", pause_s=2), id="silence"),
]


@pytest.mark.parametrize("script", SLOW)
def test_a_host_that_drips_is_left_when_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    monkeypatch.setattr(remote, "PATIENCE_S", 0.5)

    with lying_host(tmp_path, monkeypatch, script) as name:
        said = refusal(f"https://{name}/x.png", listed(name))

    assert "did not come within 0.5 s" in said  # who hears it to its end says that it is no picture


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.1:{port}/x.png", "https://localhost:{port}/x.png", "//127.0.0.1:{port}/x.png",
        "https://[::1]:{port}/x.png", "https://2130706433:{port}/", "http://127.0.0.1:{port}/x.png",
        "https://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "ftp://127.0.0.1:{port}/x.png",
        "https://user:pw@127.0.0.1:{port}/x.png", "\\\\127.0.0.1:{port}\\x.png",
    ],
)  # fmt: skip
def test_nobody_is_sent_on_to_a_machine_that_is_not_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: Watched, target: str
) -> None:
    onward = target.format(port=watched.port).encode()

    with lying_host(tmp_path, monkeypatch, says(b"HTTP/1.1 302 Found\r\nLocation: " + onward + b"\r\n\r\n")) as name:
        said = refusal(f"https://{name}/x.png", listed(name))

    assert "the host sends us on to" in said or "the host answers 302" in said
    assert watched.visitors == 0


def test_a_certificate_of_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lying_host(tmp_path, monkeypatch, says(OK + b"\r\n", png())) as name:
        address = f"127.0.0.1:{name.partition(':')[2]}"
        said = refusal(f"https://{address}/x.png", frozenset({address}))

    assert "certificate verify failed" in said
