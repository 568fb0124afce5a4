"""A hub for tests that takes uploads: the addresses of huggingface.co that publishing a data set takes, over HTTP.

Files beyond a few bytes go the way of large ones: announced, put by their hash, then named by a commit.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_letmewrite"
READER = "hf_letmeread"
_LARGE = (".tar", ".parquet", ".png", ".jpg", ".webp")


@dataclass
class Shelf:
    """One repository."""

    private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    messages: list[str] = field(default_factory=list)


class UploadHub(ThreadingHTTPServer):
    """Keeps repositories in memory. `answer` makes the next request of some path end otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.shelves: dict[str, Shelf] = {}
        self.objects: dict[str, bytes] = {}  # by SHA-256
        self.puts: list[str] = []  # hashes that were sent
        self.asked: list[str] = []  # method and path of every request
        # Part of "METHOD path", and a status; 0 cuts the line, None lets one pass.
        self.faults: list[tuple[str, int | None]] = []

    def fault(self, asked: str) -> int | None:
        """What is to go wrong with this request; each fault happens once."""
        for place, (part, status) in enumerate(self.faults):
            if part in asked:
                del self.faults[place]
                return status
        return None


class _Answer(BaseHTTPRequestHandler):
    server: UploadHub
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path)
        asked = f"{self.command} {path}"
        self.server.asked.append(asked)
        fault = self.server.fault(asked)
        if fault == 0:  # cut amid the answer
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if fault is not None:
            self._send(fault, {"error": "made to fail"})
        elif not path.startswith(("/objects/", "/api/validate-yaml")) and token not in (TOKEN, READER):
            self._send(401, {"error": "Invalid username or password."})
        else:
            self._dispatch(path, body, token)

    do_GET = do_POST = do_PUT = _handle  # noqa: N815 - the names are http.server's

    def _dispatch(self, path: str, body: bytes, token: str) -> None:
        if path == "/api/repos/create":
            self._create(json.loads(body), token)
        elif path == "/api/validate-yaml":
            self._validate(json.loads(body))
        elif found := re.fullmatch(r"/objects/([0-9a-f]{64})", path):
            self._keep(found[1], body)
        elif found := re.fullmatch(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self._batch(json.loads(body))
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/(\w+)/(.+?))?", path):
            self._of_shelf(found[1], found[2] or "info", found[3] or "main", body)
        else:
            self._send(404, {"error": "no such address"})

    def _create(self, wanted: dict[str, Any], token: str) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if token != TOKEN or wanted["organization"] != "owner":
            self._send(403, {"error": "You don't have the rights to create a dataset under this namespace"})
        elif name in self.server.shelves:
            self._send(409, {"error": "You already created this dataset repo", "url": f"{self.server.url}/{name}"})
        else:
            self.server.shelves[name] = Shelf(private=wanted.get("visibility") == "private")
            self._send(200, {"url": f"{self.server.url}/datasets/{name}"})

    def _validate(self, wanted: dict[str, Any]) -> None:
        bad = "license: nonsense" in wanted["content"]
        errors = [{"message": '"license" must be one of the known ones'}] if bad else []
        self._send(400 if bad else 200, {"errors": errors, "warnings": []})

    def _batch(self, wanted: dict[str, Any]) -> None:
        objects = []
        for entry in wanted["objects"]:
            href = {"href": f"{self.server.url}/objects/{entry['oid']}"}
            known = entry["oid"] in self.server.objects
            objects.append({**entry, **({} if known else {"actions": {"upload": href}})})
        self._send(200, {"transfer": "basic", "objects": objects})

    def _keep(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self._send(400, {"error": "wrong hash"})
            return
        self.server.puts.append(oid)
        self.server.objects[oid] = body
        self._send(200, {})

    def _of_shelf(self, name: str, what: str, branch: str, body: bytes) -> None:
        shelf = self.server.shelves.get(name)
        files = None if shelf is None else shelf.branches.get(branch)
        if shelf is None:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif what == "branch":
            self._send(409 if branch in shelf.branches else 200, {})
            shelf.branches.setdefault(branch, dict(shelf.branches["main"]))
        elif files is None:
            self._send(404, {"error": "no such branch"}, {"X-Error-Code": "RevisionNotFound"})
        elif what == "info":
            self._send(200, {"id": name, "sha": "c" * 40, "private": shelf.private, "siblings": []})
        elif what == "tree":
            self._send(200, [_listed(path, data) for path, data in sorted(files.items())])
        elif what == "preupload":
            entries = json.loads(body)["files"]
            self._send(200, {"files": [_mode(entry, files) for entry in entries]})
        else:
            self._commit(name, files, body)

    def _commit(self, name: str, files: dict[str, bytes], body: bytes) -> None:
        shelf = self.server.shelves[name]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                shelf.messages.append(value["summary"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        oid = f"{len(shelf.messages):040x}"
        self._send(200, {"commitUrl": f"{self.server.url}/datasets/{name}/commit/{oid}", "commitOid": oid})

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        said = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        if status >= 400 and isinstance(body, dict) and "error" in body:
            said["X-Error-Message"] = body["error"]
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _listed(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _git_hash(data)}
    if path.endswith(_LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


def _mode(entry: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    large, known = entry["path"].endswith(_LARGE), files.get(entry["path"])
    oid = None if known is None else hashlib.sha256(known).hexdigest() if large else _git_hash(known)
    return {"path": entry["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}


@contextmanager
def serve_uploads() -> Iterator[UploadHub]:
    """Take uploads until the block ends."""
    with UploadHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
