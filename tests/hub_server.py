"""A hub for tests: the few addresses of huggingface.co that looking at and fetching a model take, over real HTTP."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves repositories from folders: `folder`/owner/name/file; a name with "gated" wants a token."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder = folder
        self.served: list[str] = []  # files that were sent, by name
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if "gated" in path and "Authorization" not in self.headers:
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._model(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[3])
        else:
            self._send(404, b"{}", {})

    do_HEAD = do_GET  # noqa: N815 - the names are http.server's

    def _model(self, repository: str, revision: str) -> None:
        folder = self.server.folder / repository
        if not folder.is_dir():
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no such repository"})
        elif revision not in ("main", COMMIT):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "no such revision"})
        else:
            siblings = [_sibling(file, folder) for file in sorted(folder.rglob("*")) if file.is_file()]
            entry = {"id": repository, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "openrail"}}
            self._send(200, json.dumps(entry).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: str, name: str) -> None:
        file = self.server.folder / repository / name
        if not file.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "no such file"})
            return
        data = file.read_bytes()
        etag = hashlib.sha256(data).hexdigest()
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.command == "GET" and part is None:
            self.server.served.append(name)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if part:
            end = min(int(part[2] or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {part[1]}-{end}/{len(data)}"
            self._send(206, data[int(part[1]) : end + 1], headers)
        else:
            self._send(200, data, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _sibling(file: Path, folder: Path) -> dict[str, object]:
    data = file.read_bytes()
    entry: dict[str, object] = {"rfilename": file.relative_to(folder).as_posix(), "size": len(data), "blobId": "0" * 40}
    if file.suffix in (".safetensors", ".bin"):
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


@contextmanager
def serve(folder: Path) -> Iterator[Hub]:
    """Serve repositories until the block ends."""
    with Hub(folder) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
