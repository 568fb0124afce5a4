"""How fast an export is, against plain copies of the same bytes into a tar, and how much memory it takes.

    .venv/bin/python -m benchmarks.export [--images 4000] [--kilobytes 400] [--stores folder,disk,s3]
                                          [--memory 20000,100000]

The rows of a job are written into SQLite directly, its objects are files of random bytes of the size of a picture. In
one run, in turn: a plain copy (each object read from the store and added to a tar by the standard library, one after
the other, nothing checked), a checked copy (the same, but each object's SHA-256 is compared and the tar's is taken),
then exports to tar and to parquet. They read from a folder that the page cache holds; from a
folder on the disk, thrown out of the cache before each run, where the time to bring the result to the disk counts too;
and from a bucket: at FARM_S3_ENDPOINT with AWS keys set, else of a server of the tests that runs beside it on the same
processor. Printed are the medians of three, and how fast this processor takes SHA-256. For memory, jobs of two shards
and of ten, whose images share a few small objects, are exported in processes of their own, and the peak of resident
memory of each is printed.
"""

import argparse
import hashlib
import io
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_hexdigest

from dispatcher.export.beginning import check_wish
from dispatcher.export.engine import Exporter, Way
from dispatcher.export.options import ExportOptions
from dispatcher.export.sources import sources_of
from dispatcher.export.targets import FolderTarget
from dispatcher.farm import Farm
from dispatcher.submission import submit
from storage.blobs import BlobStore
from storage.settings import Settings
from storage.spec import ModelFacts, check_job_file, digest, freeze
from storage.spec.plan import Plan
from storage.sql import images, jobs
from storage.sql.lookups import environment_id, model_ids, plan_id, prompt_ids
from storage.states import ImageState, JobState

ROUNDS = 3
PAGE = 5000
FACTS = ModelFacts(digest="sha256:" + "a" * 64, family="Bench", width=512, height=512, guidance_scale=7.5)
PLAN = Plan(device_type="cpu", dtype="float32", batch=8, threads=1, tf32=False)


def make_job(farm: Farm, count: int, *, size: int, objects: int) -> str:
    """A job that is done: `count` images whose rows name `objects` different objects of `size` bytes in turn."""
    folder = farm.settings.home
    (folder / "model").mkdir(parents=True, exist_ok=True)
    prompts = [f"a fox, picture {number}" for number in range(100)]
    raw = {"model": "model", "axes": {"prompt": prompts, "seed": {"start": 0, "count": count // 100}}}
    spec = freeze(check_job_file(raw), base=folder, name="bench", max_images=10**9)
    row = submit(
        spec, settings=farm.settings, database=farm.database, store=farm.store, source="x", new=True
    ).row  # fmt: skip
    stored = [_stored(farm.store, f"jobs/{row.id}/bench/{place:09d}.png", size) for place in range(objects)]
    job = farm.specs.load(row.id, spec_hash=row.spec_hash)
    with farm.database.write() as connection:
        key = next(iter(spec.models))
        jobs.change(connection, row.id, models={key: FACTS.to_json()}, state=JobState.DONE, done=count)
        shared = {
            "job": row.id, "state": ImageState.DONE,
            "model": model_ids(connection, {key: (FACTS.digest, "Bench")})[key],
            "plan": plan_id(connection, PLAN), "environment": environment_id(connection, {"torch": "2"}, digest="x"),
            "labels": {}, "options": {}, "chunk": 1, "attempt": 1, "run": "r", "worker": "w", "recorded_at": 0.0,
            "scores": {}, "scheduler": "own", "width": 512, "height": 512, "guidance_scale": 7.5, "steps": 30,
        }  # fmt: skip
        ids = prompt_ids(connection, prompts)
        for start in range(0, count, PAGE):
            page = []
            for number in range(start, min(count, start + PAGE)):
                place = job[number]
                assert place is not None
                name, sha256, checksum = stored[number % objects]
                page.append({
                    **shared, "number": number, "seed": place.values["seed"], "prompt": ids[place.values["prompt"]],
                    "recipe_hash": digest(job.recipe(place, {key: FACTS})), "key": name, "sha256": sha256,
                    "pixel_sha256": sha256, "bytes": size, "xxh3_64": checksum,
                })  # fmt: skip
            images.add(connection, page)
    return row.id


def copy(store: BlobStore, objects: Mapping[str, str], to: Path, *, checked: bool) -> None:
    """The yardsticks: every object, which `objects` names with its SHA-256, into one tar."""
    with to.open("wb") as raw, tarfile.open(fileobj=_Summed(raw) if checked else raw, mode="w") as tar:
        for key, sha256 in objects.items():
            data = store.get(key)
            assert not checked or hashlib.sha256(data).hexdigest() == sha256
            info = tarfile.TarInfo(Path(key).name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


class _Summed(io.RawIOBase):
    """A file whose SHA-256 is taken as it is written."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()


def export(farm: Farm, job_id: str, to: Path, layout: str) -> None:
    """An export as the command makes it, without the card."""
    wish = check_wish(sources_of(farm, [job_id]), ExportOptions(format=layout))  # type: ignore[arg-type]
    exporter = Exporter(farm, FolderTarget(to), wish, Way())
    exporter.finish = lambda _: None  # type: ignore[method-assign]
    exporter.run(lambda _: None)


def speed(farm: Farm, folder: Path, *, count: int, size: int, cold: bool) -> None:
    """Print images per second and the ratio to a plain copy; `cold` is from disk to disk."""
    job_id = make_job(farm, count, size=size, objects=count)
    with farm.database.read() as connection:
        objects = {row.key: row.sha256 or "" for row in images.of_job(connection, job_id) if row.key is not None}
    ways: dict[str, Callable[[Path], None]] = {
        "plain copy": lambda to: copy(farm.store, objects, to, checked=False),
        "checked copy": lambda to: copy(farm.store, objects, to, checked=True),
        "webdataset": lambda to: export(farm, job_id, to, "webdataset"),
        "parquet": lambda to: export(farm, job_id, to, "parquet"),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS):
        for name, way in ways.items():
            to = folder / f"out-{name.replace(' ', '-')}-{turn}"
            if cold:
                _sync(farm.settings.home, evict=True)
            began = time.perf_counter()
            way(to)
            if cold:
                _sync(to)
            taken[name].append(count / (time.perf_counter() - began))
            shutil.rmtree(to) if to.is_dir() else to.unlink()
    plain, checked = (statistics.median(taken[name]) for name in ("plain copy", "checked copy"))
    for name, speeds in taken.items():
        found = statistics.median(speeds)
        print(
            f"  {name:<12} {found:8.0f} images/s  {found * size / 1e6:7.0f} MB/s"
            f"  {found / plain:6.2f} of a plain copy {found / checked:6.2f} of a checked one",
            flush=True,
        )  # fmt: skip


def hash_speed() -> float:
    """Megabytes of SHA-256 that one thread takes in a second."""
    data = bytes(10**7)
    began = time.perf_counter()
    for _ in range(20):
        hashlib.sha256(data).digest()
    return 20 * len(data) / 1e6 / (time.perf_counter() - began)


def memory(home: Path) -> None:
    """Export the job of a farm and print the peak of this process, which did nothing else."""
    farm = Farm(Settings(home=home))
    began = time.perf_counter()
    export(farm, "bench", home / "out", "webdataset")
    seconds = time.perf_counter() - began
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss is the parent's too
    assert peak is not None
    print(f"  peak of memory {int(peak[1]) // 1024} MB in {seconds:.0f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--kilobytes", type=int, default=400)
    parser.add_argument("--stores", default="folder,disk,s3")
    parser.add_argument("--memory", default="20000,100000")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.memory_of is not None:
        memory(said.memory_of)
        return
    print(f"SHA-256: {hash_speed():.0f} MB/s and thread; {os.cpu_count()} threads at once", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in filter(None, said.stores.split(",")):
            with _bucket(folder) if kind == "s3" else nullcontext({}) as where:
                place = where.get("s3_endpoint", "the disk" if kind == "disk" else "a folder in memory")
                print(f"{said.images} images of {said.kilobytes} KB, from {place}", flush=True)
                farm = Farm(Settings(home=folder / kind, **where))
                speed(farm, folder, count=said.images, size=said.kilobytes * 1000, cold=kind == "disk")
            shutil.rmtree(folder / kind)
        for count in filter(None, said.memory.split(",")):
            home = folder / f"memory-{count}"
            make_job(Farm(Settings(home=home)), int(count), size=2000, objects=50)
            print(f"{count} images of 2 KB", flush=True)
            subprocess.run([sys.executable, "-m", "benchmarks.export", "--memory-of", str(home)], check=True)


def _sync(place: Path, *, evict: bool = False) -> None:
    """Bring a file, or all of a folder, to the disk, and perhaps out of the page cache."""
    for path in [place] if place.is_file() else filter(Path.is_file, place.rglob("*")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            if evict:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _bucket(folder: Path) -> Iterator[dict[str, Any]]:
    """Settings of a farm whose store is a new bucket."""
    if "FARM_S3_ENDPOINT" in os.environ:
        yield {"store_url": f"s3://bench-{os.getpid()}", "s3_endpoint": os.environ["FARM_S3_ENDPOINT"]}
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from servers.ministack import install_ministack, start_ministack

    program, server = start_ministack(install_ministack(), folder)
    os.environ.update(server.environment)
    try:
        yield {"store_url": "s3://bench", "s3_endpoint": server.endpoint}
    finally:
        program.end(signal.SIGKILL)


def _stored(store: BlobStore, key: str, size: int) -> tuple[str, str, str]:
    data = os.urandom(size)
    store.put(key, data)
    return key, hashlib.sha256(data).hexdigest(), xxh3_64_hexdigest(data)


if __name__ == "__main__":
    main()
