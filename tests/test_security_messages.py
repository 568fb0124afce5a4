"""Both sides take JSON of one shape only; whatever else comes is dropped, not run, and they go on working."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from dispatcher.service.recording.records import RecordConsumer
from hostile_messages import hostile, publish, shout
from servers.valkey import ValkeyServer
from storage.errors import ManifestRefused
from storage.wire import keys
from storage.wire.celery_app import RECORD, RENDER, configuration, make_app
from storage.wire.guarded import GuardedConsumer
from worker_desk import Desk, fake_model, wait_for, worker

NODE = "test-cpu"


class Noted:
    """A recorder that only remembers what it was asked to record, and refuses all but one."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def record(self, key: object) -> bool:
        self.asked.append(key)
        if key != "jobs/good":
            raise ManifestRefused("?", "the test takes one manifest")
        return True


@pytest.mark.filterwarnings("ignore")  # Celery's own, about messages like these
def test_the_dispatcher_drops_what_is_no_record_and_goes_on(
    broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    mark, recorder, heard = tmp_path / "it-ran", Noted(), list[bool]()
    consumer = RecordConsumer(broker_url, recorder, on_record=lambda: heard.append(True))  # type: ignore[arg-type]
    app = make_app(broker_url, role="test")
    messages = hostile(RECORD, "manifest", mark)

    consumer.start()
    try:
        for name, message in messages.items():
            before = recorder.asked.count("jobs/good")
            publish(app, keys.RECORD_QUEUE, {name: message})
            app.send_task(RECORD, kwargs={"manifest": "jobs/good"}, queue=keys.RECORD_QUEUE, retry=False)
            wait_for(lambda count=before: recorder.asked.count("jobs/good") > count, what=f"a record after {name}")  # type: ignore[misc]
        shout(app, mark)
        app.send_task(RECORD, kwargs={"manifest": "jobs/good"}, queue=keys.RECORD_QUEUE, retry=False)
        wait_for(lambda: recorder.asked.count("jobs/good") > len(messages), what="a record at the end")
    finally:
        consumer.stop()

    assert not mark.exists()
    with redis.Redis.from_url(broker_url) as client:
        assert client.llen(keys.RECORD_QUEUE) == 0


@pytest.fixture
def desk(valkey: ValkeyServer, tmp_path: Path) -> Iterator[Desk]:
    if not valkey.running:  # an earlier test killed it
        valkey.start()
    with Desk(valkey.database(14), tmp_path) as desk:
        desk.redis.flushdb()
        yield desk


def test_a_worker_drops_what_is_no_chunk_and_goes_on(desk: Desk, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    fake_model(desk.home)
    desk.freeze(model="model", prompt="a fox", steps=1, axes={"seed": {"count": 4}})

    with worker(desk):
        first = desk.beat(NODE)
        publish(desk.app, keys.worker_queue(NODE, first.boot), hostile(RENDER, "message", mark))
        shout(desk.app, mark)
        desk.send(desk.message(range(4), models=desk.resolve(NODE)), node=NODE)
        manifest = desk.manifest()
        last = desk.beat(NODE)

    assert not mark.exists()
    assert (len(manifest.images), manifest.failed) == (4, [])
    assert (last.boot, last.child) == (first.boot, first.child)  # nothing of it cost a process
    assert not [key for key in desk.store.list("jobs/") if not key.key.startswith(f"jobs/{desk.job}/")]


@pytest.mark.parametrize("role", ["dispatcher", "worker", "flower"])
def test_only_json_is_configured(role: str) -> None:
    said = configuration(role)
    app = make_app("redis://localhost:1/0", role=role)

    assert said["accept_content"] == ["json"]
    assert {said[name] for name in said if name.endswith("_serializer")} == {"json"}
    assert app.conf.result_backend is None
    assert app.conf.result_serializer == "json"
    assert not app.conf.worker_pool_restarts  # a command that imports modules
    assert app.conf.worker_consumer == f"{GuardedConsumer.__module__}:GuardedConsumer"


def test_nothing_of_ours_unpickles_or_evaluates() -> None:
    root = Path(__file__).resolve().parent.parent
    words = (
        "import pickle",
        "import marshal",
        "import shelve",
        "torch.load(",
        "yaml.load(",
        "yaml.unsafe_load",
        "shell=True",
    )
    found = []
    for file in (file for room in ("storage", "dispatcher", "worker") for file in (root / room).rglob("*.py")):
        text = file.read_text()
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        found += [f"{file.relative_to(root)}: {word}" for word in words if word in text]
        found += [f"{file.relative_to(root)}: {name}" for name in calls & {"eval", "exec", "compile", "__import__"}]

    assert found == ["storage/yaml_text.py: yaml.load("]  # with a safe loader of our own
