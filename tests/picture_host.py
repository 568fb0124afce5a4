"""A host of pictures that speaks https with a certificate of its own, for as long as a test lasts."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from servers.missing import missing


class PictureHost:
    """What it serves, and what it was asked for."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        self.port = 0

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    @property
    def allowed(self) -> frozenset[str]:
        """What an operator lists so that this host may be asked: its name, and where that leads."""
        return frozenset({self.name, f"127.0.0.1:{self.port}", f"[::1]:{self.port}"})

    def address(self, path: str) -> str:
        return f"https://{self.name}{path}"


@contextmanager
def picture_host(folder: Path, monkeypatch: object) -> Iterator[PictureHost]:
    host = PictureHost()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            host.asked.append(self.path)
            body = host.bodies.get(self.path)
            target = host.redirects.get(self.path)
            self.send_response(302 if target else 404 if body is None else 200)
            if target:
                self.send_header("Location", target)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    pem = certificate(folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))  # type: ignore[attr-defined]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        host.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


def certificate(folder: Path) -> Path:
    file = folder / "host.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", str(folder / "cert.pem")]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        missing("openssl", str(error))
    file.write_text(file.read_text() + (folder / "cert.pem").read_text())
    return file
