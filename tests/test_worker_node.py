"""Whole workers: supervisor, Celery node and child, on the fake renderer, a real broker and a folder store."""

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from storage import keys
from storage.plan import Plan
from storage.spec import Job, ModelFacts, digest
from worker_desk import ROOT, Desk, descendants, fake_model, gone, wait_for, worker

NODE = "test-cpu"
SLOW = 0.05  # seconds a step
ONE_BY_ONE = Plan(device_type="cpu", dtype="float32", batch=1, threads=1, tf32=False)


@pytest.fixture
def desk(broker_url: str, tmp_path: Path) -> Desk:
    """For tests that start workers of their own."""
    return Desk(broker_url, tmp_path)


@pytest.fixture(scope="module")
def shared(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One worker for all tests that leave it alive."""
    if not valkey.running:
        valkey.start()
    home = tmp_path_factory.mktemp("shared")
    desk = Desk(valkey.url, home)
    desk.redis.flushdb()
    with worker(desk):
        yield desk


@pytest.fixture
def job(shared: Desk, tmp_path: Path) -> Desk:
    """A job of its own on the shared worker."""
    return Desk(shared.broker_url, tmp_path, job=keys.new_id(), store=shared.home / "store")


def slow_job(desk: Desk) -> None:
    """A job of 1000 images that takes minutes."""
    fake_model(desk.home, seconds_per_step=SLOW)
    desk.freeze(model="model", prompt="a fox", steps=4, axes={"seed": {"count": 1000}})


def start_slow_chunk(desk: Desk) -> None:
    """Have the worker render the first 100 of them, one by one."""
    desk.send(desk.message(range(100), models=desk.resolve(NODE), plan=ONE_BY_ONE), node=NODE)
    wait_for(lambda: (held := desk.running(NODE).holding) and held.images >= 2, what="two images")


def test_a_chunk_becomes_images_and_a_manifest_and_the_dispatcher_hears_of_it(job: Desk) -> None:
    fake_model(job.home)
    job.freeze(model="model", prompt="a fox", steps=3, previews={"every": 1}, axes={"seed": {"count": 10}})

    models = job.resolve(NODE)
    job.send(job.message(range(10), models=models), node=NODE)
    manifest = job.manifest()
    recorded = [wait_for(lambda: job.redis.rpop(keys.RECORD_QUEUE), what="record") for _ in range(2)]

    job = Job(job.spec)
    facts = {name: ModelFacts(**entry.model_dump()) for name, entry in models.items()}
    prefix = keys.run_prefix(job.job, 1, 1, manifest.run)
    assert [image.number for image in manifest.images] == list(range(10))
    assert (manifest.failed, manifest.untried, manifest.fatal) == ([], [], None)
    assert (manifest.node, manifest.models) == (NODE, models)
    assert len({image.pixel_sha256 for image in manifest.images}) == 10
    for image in manifest.images:
        data = job.store.get(image.key)
        picture = Image.open(io.BytesIO(data))
        place = job[image.number]
        assert place is not None
        recipe = job.recipe(place, facts)
        said = json.loads(picture.info["seedfarm"])
        pixels = f"{picture.width}x{picture.height}:".encode() + picture.tobytes()
        assert image.key == keys.image_key(prefix, image.number, "png")
        assert image.preview == keys.preview_key(prefix, image.number)
        assert job.store.head(image.preview) is not None
        assert (image.sha256, image.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert image.pixel_sha256 == hashlib.sha256(pixels).hexdigest()
        assert image.recipe_hash == digest(recipe)
        assert (said["recipe"], said["plan"]) == (recipe, manifest.plan and manifest.plan.model_dump())
    assert keys.manifest_key(prefix).encode() in b"".join(
        base64.b64decode(json.loads(raw)["body"]) for raw in recorded
    )


def test_a_message_without_a_token_is_dropped(job: Desk) -> None:
    fake_model(job.home)
    job.freeze(model="model", prompt="a fox", axes={"seed": {"count": 4}})

    models = job.resolve(NODE)
    job.send(job.message(range(2), chunk=1, models=models), node=NODE, token=False)
    job.send(job.message(range(2), chunk=2, models=models), node=NODE)
    job.manifest(chunk=2)

    assert list(job.store.list(keys.chunk_prefix(job.job, 1, 1))) == []
    assert "chunk dropped job=job1 chunk=1 attempt=1" in (job.home / "test.log").read_text()


def test_an_order_to_stop_ends_a_chunk_at_the_next_step(job: Desk) -> None:
    slow_job(job)

    start_slow_chunk(job)
    job.order(NODE, stop_jobs=[job.job])
    manifest = job.manifest(limit_s=10)

    made = [image.number for image in manifest.images]
    assert made == list(range(len(made)))
    assert manifest.untried == [[len(made), 100, 1]]


def test_sigterm_ends_everything_with_a_partial_manifest(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk) as process:
        start_slow_chunk(desk)
        kin = descendants(process.pid)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=10)
        took = time.monotonic() - begun
        manifest = desk.manifest(limit_s=1)

    assert code == 0
    assert took < 10
    assert len(kin) >= 2
    assert gone(kin)
    assert len(manifest.images) + sum(len(range(*part)) for part in manifest.untried) == 100
    assert desk.redis.get(keys.worker_key(NODE)) is None


def test_a_killed_child_is_replaced_and_the_worker_goes_on(job: Desk) -> None:
    fake_model(job.home, kill_seeds=[2])
    job.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 9}})

    models = job.resolve(NODE)
    first = job.beat(NODE)
    job.send(job.message(range(4), chunk=1, models=models), node=NODE)
    second = job.beat(NODE, other_than=first.child)
    job.send(job.message(range(4, 8), chunk=2, models=models), node=NODE)
    manifest = job.manifest(chunk=2)

    assert [image.number for image in manifest.images] == [4, 5, 6, 7]
    assert second.boot == first.boot
    assert not [blob for blob in job.store.list(keys.chunk_prefix(job.job, 1, 1)) if "manifest" in blob.key]


def test_a_killed_supervisor_leaves_no_process(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk) as process:
        start_slow_chunk(desk)
        kin = descendants(process.pid)
        process.kill()
        wait_for(lambda: gone(kin), what="all gone", limit_s=10)
        manifest = desk.manifest(limit_s=1)

    assert len(kin) >= 2
    assert manifest.images


def test_a_second_live_boot_of_a_name_is_refused_and_a_dead_ones_key_is_not_in_the_way(desk: Desk) -> None:
    with worker(desk) as process:
        first = desk.beat(NODE)
        with worker(desk) as twin:
            assert twin.wait(timeout=30) == 1
        kin = descendants(process.pid)
        for pid in [process.pid, *kin]:
            os.kill(pid, signal.SIGKILL)
        process.wait()
    assert "a live worker has this name" in (desk.home / "test.log").read_text()

    with worker(desk):
        second = desk.beat(NODE, other_than=first.child)

    assert second.boot != first.boot


def test_one_bad_image_does_not_spoil_its_batch(job: Desk) -> None:
    fake_model(job.home, fail_seeds=[1], blank_seeds=[2])
    job.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 6}})

    job.send(job.message(range(6), models=job.resolve(NODE)), node=NODE)
    manifest = job.manifest()

    assert [image.number for image in manifest.images] == [0, 3, 4, 5]
    assert [(image.number, image.reason) for image in manifest.failed] == [(1, "error"), (2, "non_finite")]


def test_a_model_that_is_gone_or_changed_is_fatal_and_says_so(job: Desk) -> None:
    folder = fake_model(job.home)
    job.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 6}})

    models = job.resolve(NODE)
    (folder / "fake.json").write_text('{"width": 128}')
    job.send(job.message(range(6), chunk=1, models=models), node=NODE)
    changed = job.manifest(chunk=1)
    (folder / "fake.json").unlink()
    job.send(job.message(chunk=2), node=NODE)
    missing = job.manifest(chunk=2)

    assert changed.fatal is not None
    assert "bring those files back" in changed.fatal
    assert changed.untried == [[0, 6, 1]]
    assert missing.fatal is not None
    assert "not found" in missing.fatal


def test_a_worker_without_a_broker_says_what_to_set(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FARM_HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "start", "--devices", "cpu"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "FARM_BROKER_URL" in done.stderr


def test_what_starts_a_worker_does_not_import_torch() -> None:
    code = "import sys, worker.cli, worker.node, worker.child.tasks, worker.fake; sys.exit('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60)

    assert done.returncode == 0
