"""Lives of a child with a spool, which may be cut short anywhere."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from moody_store import MoodyStore
from storage.wire import keys
from storage.wire.messages import MadeImage, Manifest
from worker.child.level import Level
from worker.runs.storing.spool import Disk, Spool
from worker.runs.storing.spool.disk import MANIFEST

RUN = "abcdefghjk"
OPERATIONS = ("fsync", "mkdir", "rename", "unlink", "rmdir", "open")


def image(run: str, number: int) -> bytes:
    return f"the picture {number} of {run}".encode()


def manifest_of(run: str, count: int, *, chunk: int = 1, changes: dict[str, Any] | None = None) -> Manifest:
    prefix = keys.run_prefix("job", chunk, 1, run)
    images = [
        MadeImage(
            number=number, key=keys.image_key(prefix, number, "png"),
            sha256=hashlib.sha256(image(run, number)).hexdigest(), pixel_sha256="", bytes=1, width=8, height=8,
            recipe_hash="r",
        )
        for number in range(count)
    ]  # fmt: skip
    said = Manifest(
        job="job", chunk=chunk, attempt=1, run=run, node="n", boot="b", spec_hash="s", plan=None, environment={},
        models={}, images=images, started=0, finished=chunk, seconds={},
    )  # fmt: skip
    return said.model_copy(update=changes or {})


class Killed(BaseException):
    """The process is dead: nothing that it would do afterwards is done."""


@contextmanager
def dying_at(operation: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Kill whoever makes the n-th change of the file system; yields what was done before."""
    done: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        plain = getattr(os, name)

        def work(*given: Any, **more: Any) -> Any:
            if len(done) >= operation:
                raise Killed
            done.append(name)
            return plain(*given, **more)

        return work

    with monkeypatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, counted(name))
        with suppress(Killed):
            yield done


class Life:
    """One life of a child with a spool: it stores some runs, by way of the disk."""

    def __init__(self, folder: Path, store: MoodyStore, *, cap: int = 10**6) -> None:
        self.disk = Disk(folder / "spool", cap=cap)
        self.level = Level()
        self.spool = Spool(self.disk, store, level=self.level, scale=0.001)
        self._store = store

    def live(self, runs: dict[str, int], *, direct: int) -> None:
        """Resume, make runs of so many images, send all. Every `direct`-th image goes straight to the store."""
        self.spool.resume()
        for chunk, (run, count) in enumerate(runs.items(), start=1):
            manifest = manifest_of(run, count, chunk=chunk)
            for number, made in enumerate(manifest.images):
                if direct and number % direct == 0:
                    self._store.put(made.key, image(run, number))
                else:
                    assert self.spool.keep(run, made.key.rpartition("/")[2], image(run, number))
            assert self.spool.finish(manifest, manifest.model_dump_json().encode())
        self.send_all()

    def send_all(self) -> None:
        for run in list(self.spool._runs.values()):
            self.spool._settle(run)


def whole_in_spool(folder: Path) -> set[str]:
    """Runs whose manifest lies in the spool."""
    return {file.parent.name for file in (folder / "spool").glob(f"*/{MANIFEST}")}


def sent(store: MoodyStore) -> dict[str, Manifest]:
    found = [info.key for info in store.list("jobs/") if info.key.endswith(MANIFEST)]
    manifests = [Manifest.model_validate_json(store.get(key)) for key in found]
    return {manifest.run: manifest for manifest in manifests}


def check_store(store: MoodyStore) -> None:
    """Every manifest in the store names objects in the store, of the right bytes."""
    for manifest in sent(store).values():
        for made in manifest.images:
            assert hashlib.sha256(store.get(made.key)).hexdigest() == made.sha256
