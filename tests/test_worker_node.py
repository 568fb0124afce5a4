"""A whole worker that stays alive: supervisor, Celery node and child, on the fake renderer and a real broker."""

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from servers.valkey import ValkeyServer
from storage.spec import Job, ModelFacts, digest
from storage.wire import keys
from storage.wire.messages import MadeImage, Manifest
from worker_desk import ONE_BY_ONE, Desk, fake_model, slow_job, start_slow_chunk, wait_for, worker

NODE = "test-cpu"


@pytest.fixture(scope="module")
def shared(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    if not valkey.running:  # an earlier test killed it
        valkey.start()
    with Desk(valkey.url, tmp_path_factory.mktemp("shared")) as desk:
        desk.redis.flushdb()
        with worker(desk):
            yield desk


@pytest.fixture
def desk(shared: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A job of its own on the one worker."""
    with Desk(shared.broker_url, tmp_path, job=keys.new_id(), store=shared.home / "store") as desk:
        yield desk


def check_image(desk: Desk, manifest: Manifest, image: MadeImage) -> None:
    """What the manifest says of an image must be so, and the file must say how it came to be."""
    job = Job(desk.spec)
    place = job[image.number]
    assert place is not None
    assert manifest.plan is not None
    recipe = job.recipe(place, {name: ModelFacts(**entry.model_dump()) for name, entry in manifest.models.items()})
    data = desk.store.get(image.key)
    picture = Image.open(io.BytesIO(data))
    said = json.loads(picture.info["seedfarm"])
    pixels = f"{picture.width}x{picture.height}:".encode() + picture.tobytes()
    prefix = keys.run_prefix(desk.job, manifest.chunk, manifest.attempt, manifest.run)
    assert image.key == keys.image_key(prefix, image.number, "png")
    assert (image.sha256, image.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (image.width, image.height) == picture.size == (recipe["width"], recipe["height"])
    assert image.pixel_sha256 == hashlib.sha256(pixels).hexdigest()
    assert image.recipe_hash == digest(recipe)
    assert said.keys() == {
        "schema", "level", "prompts", "recipe", "recipe_hash", "models", "plan", "libraries", "encoding", "software",
    }  # fmt: skip
    assert (said["recipe"], said["plan"]) == (recipe, manifest.plan.model_dump())


def test_a_chunk_becomes_images_and_a_manifest(desk: Desk) -> None:
    fake_model(desk.home)
    desk.freeze(model="model", prompt="a fox", steps=3, previews={"every": 1}, axes={"seed": {"count": 10}})

    models = desk.resolve(NODE)
    desk.send(desk.message(range(10), models=models), node=NODE)
    manifest = desk.manifest()

    assert [image.number for image in manifest.images] == list(range(10))
    assert (manifest.failed, manifest.untried, manifest.fatal) == ([], [], None)
    assert (manifest.node, manifest.models) == (NODE, models)
    assert manifest.seconds.keys() == {"load", "render", "encode", "upload", "wait", "total"}
    for image in manifest.images:
        check_image(desk, manifest, image)


def test_the_dispatcher_hears_of_a_manifest(desk: Desk) -> None:
    fake_model(desk.home)
    desk.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 2}})

    desk.send(desk.message(range(2), models=desk.resolve(NODE)), node=NODE)
    manifest = desk.manifest()

    key = keys.manifest_key(keys.run_prefix(desk.job, 1, 1, manifest.run))
    wait_for(lambda: key in said_on_record_queue(desk), what="record")


def said_on_record_queue(desk: Desk) -> str:
    waiting = desk.redis.lrange(keys.RECORD_QUEUE, 0, -1)
    assert isinstance(waiting, list)
    return " ".join(base64.b64decode(json.loads(raw)["body"]).decode() for raw in waiting)


def test_flower_is_told_of_steps(desk: Desk) -> None:
    slow_job(desk)
    heard: list[str] = []
    with desk.app.connection() as connection:
        receiver = desk.app.events.Receiver(connection)

        def hear(event: dict[str, str]) -> None:
            heard.append(event["result"])
            receiver.should_stop = event["result"].startswith("step ")

        receiver.handlers["task-denoising"] = hear
        start_slow_chunk(desk, NODE)
        receiver.capture(limit=None, timeout=20)
    desk.order(NODE, stop_jobs=[desk.job])
    desk.manifest()

    assert heard[-1].endswith("/100")


def test_a_message_without_a_token_is_dropped(shared: Desk, desk: Desk) -> None:
    fake_model(desk.home)
    desk.freeze(model="model", prompt="a fox", axes={"seed": {"count": 4}})

    models = desk.resolve(NODE)
    desk.send(desk.message(range(2), chunk=1, models=models), node=NODE, token=False)
    desk.send(desk.message(range(2), chunk=2, models=models), node=NODE)
    desk.manifest(chunk=2)

    assert list(desk.store.list(keys.chunk_prefix(desk.job, 1, 1))) == []
    assert f"chunk dropped job={desk.job} chunk=1 attempt=1" in (shared.home / "test.log").read_text()


def test_an_order_to_stop_ends_a_chunk_at_the_next_step(desk: Desk) -> None:
    slow_job(desk)

    start_slow_chunk(desk, NODE)
    desk.order(NODE, stop_jobs=[desk.job])
    manifest = desk.manifest(limit_s=10)

    made = [image.number for image in manifest.images]
    assert made == list(range(len(made)))
    assert manifest.untried == [[len(made), 100, 1]]


def test_a_higher_class_goes_ahead_of_the_waiting_chunk(desk: Desk) -> None:
    slow_job(desk)
    models = desk.resolve(NODE)
    desk.send(desk.message(range(4), chunk=1, models=models, plan=ONE_BY_ONE), node=NODE)
    desk.running(NODE)

    desk.send(desk.message(range(4, 5), chunk=2, models=models, plan=ONE_BY_ONE), node=NODE, priority=9)
    desk.send(desk.message(range(5, 6), chunk=3, models=models, plan=ONE_BY_ONE), node=NODE, priority=0)

    assert desk.manifest(chunk=3).finished <= desk.manifest(chunk=2).started


def test_a_killed_child_is_replaced_and_the_worker_goes_on(desk: Desk) -> None:
    fake_model(desk.home, kill_seeds=[2])
    desk.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 9}})
    models = desk.resolve(NODE)
    first = desk.beat(NODE)

    desk.send(desk.message(range(4), chunk=1, models=models), node=NODE)
    second = desk.beat(NODE, other_than=first.child)
    desk.send(desk.message(range(4, 8), chunk=2, models=models), node=NODE)
    manifest = desk.manifest(chunk=2)

    assert [image.number for image in manifest.images] == [4, 5, 6, 7]
    assert second.boot == first.boot
    assert not [blob for blob in desk.store.list(keys.chunk_prefix(desk.job, 1, 1)) if "manifest" in blob.key]


def test_one_bad_image_does_not_spoil_its_batch(desk: Desk) -> None:
    fake_model(desk.home, fail_seeds=[1], blank_seeds=[2])
    desk.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 6}})

    desk.send(desk.message(range(6), models=desk.resolve(NODE)), node=NODE)
    manifest = desk.manifest()

    assert [image.number for image in manifest.images] == [0, 3, 4, 5]
    assert [(image.number, image.reason) for image in manifest.failed] == [(1, "error"), (2, "blank")]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"allow_blank": True}, id="allowed"),
        pytest.param({"quality": {"low_variance": "reject"}}, id="rejected by a rule"),
    ],
)
def test_a_picture_of_one_colour_is_kept_and_marked_where_the_job_knows_what_to_do_with_it(
    desk: Desk, said: dict[str, Any]
) -> None:
    fake_model(desk.home, blank_seeds=[2])
    desk.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 4}}, **said)

    desk.send(desk.message(range(4), models=desk.resolve(NODE)), node=NODE)
    manifest = desk.manifest()

    assert [(image.number, image.flags) for image in manifest.images if image.flags] == [(2, ["low_variance"])]
    assert (len(manifest.images), manifest.failed) == (4, [])


def test_a_model_that_changed_or_is_gone_is_fatal_and_says_so(desk: Desk) -> None:
    folder = fake_model(desk.home)
    desk.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 6}})
    models = desk.resolve(NODE)

    (folder / "fake.json").write_text('{"width": 128}')
    desk.send(desk.message(range(6), chunk=1, models=models), node=NODE)
    changed = desk.manifest(chunk=1)
    (folder / "fake.json").unlink()
    desk.send(desk.message(chunk=2), node=NODE)
    missing = desk.manifest(chunk=2)

    assert changed.fatal is not None
    assert "bring those files back" in changed.fatal
    assert changed.untried == [[0, 6, 1]]
    assert missing.fatal is not None
    assert "not found" in missing.fatal
