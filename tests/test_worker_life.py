"""How workers start and end: signals, kills, a broker that goes away, two of one name."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from servers.valkey import ValkeyServer, find_valkey
from storage.wire import keys
from worker_desk import ROOT, Desk, descendants, fake_model, gone, slow_job, start_slow_chunk, wait_for, worker

NODE = "test-cpu"


@pytest.fixture
def desk(broker_url: str, tmp_path: Path) -> Iterator[Desk]:
    with Desk(broker_url, tmp_path) as desk:
        yield desk


def test_sigterm_ends_everything_with_a_partial_manifest(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk) as process:
        start_slow_chunk(desk, NODE)
        kin = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=10)
        manifest = desk.manifest(limit_s=1)

    assert code == 0
    assert len(kin) >= 2
    assert gone(kin)
    assert len(manifest.images) + sum(len(range(*part)) for part in manifest.untried) == 100
    assert desk.redis.get(keys.worker_key(NODE)) is None


def test_a_killed_supervisor_leaves_no_process(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk) as process:
        start_slow_chunk(desk, NODE)
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
            refused = twin.wait(timeout=30)
        for pid in [process.pid, *descendants(process.pid)]:
            with suppress(ProcessLookupError):  # the first death may end others
                os.kill(pid, signal.SIGKILL)
        process.wait()
    with worker(desk):
        second = desk.beat(NODE, other_than=first.child)

    assert refused == 1
    assert "a live worker has this name" in (desk.home / "test.log").read_text()
    assert second.boot != first.boot


def test_a_dead_node_is_started_again(desk: Desk) -> None:
    with worker(desk) as process:
        first = desk.beat(NODE)
        node = next(pid for pid in descendants(process.pid) if "worker.node" in _command(pid))
        os.kill(node, signal.SIGKILL)
        second = desk.beat(NODE, other_than=first.child)

    assert second.boot != first.boot


def test_a_worker_renders_on_while_the_broker_is_away(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    server = ValkeyServer(find_valkey(), tmp_path / "valkey")
    server.start()
    try:
        with Desk(server.url, tmp_path) as desk, worker(desk):
            fake_model(tmp_path, seconds_per_step=0.02)
            desk.freeze(model="model", prompt="a fox", steps=4, axes={"seed": {"count": 40}})
            models = desk.resolve(NODE)
            desk.send(desk.message(range(40), models=models), node=NODE)
            desk.running(NODE)
            server.kill()
            manifest = desk.manifest()
            server.restart(keep=False)
            again = desk.beat(NODE)
            desk.send(desk.message(range(4), chunk=2, models=models), node=NODE)
            desk.manifest(chunk=2)
    finally:
        server.kill()

    assert len(manifest.images) == 40
    assert again.boot == manifest.boot


def test_a_worker_without_a_broker_says_what_to_set(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FARM_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "worker.cli", "start", "--devices", "cpu"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "FARM_BROKER_URL" in done.stderr


def test_what_starts_a_worker_does_not_import_torch() -> None:
    code = "import sys, worker.cli, worker.node, worker.child.tasks, worker.fake; sys.exit('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)

    assert done.returncode == 0


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
