"""Flower as `farm flower` starts it: behind its password, with tasks that a person can read."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm_desk import Desk, wait_until
from servers.program import free_port


@pytest.fixture
def desk(tmp_path: Path, broker_url: str) -> Iterator[Desk]:
    desk = Desk(
        tmp_path,
        seconds_per_step=0.25,
        FARM_BROKER_URL=broker_url,
        FARM_UNREGISTERED_MODELS="1",
        FARM_FLOWER_PASSWORD="a secret",
        FARM_CHUNK_S="4",
    )
    yield desk
    desk.close()


def ask(port: int, path: str, *, password: str | None = "a secret") -> tuple[int, str]:
    """GET a path; returns status and text, 0 while nothing listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if password is not None:
        token = base64.b64encode(f"farm:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
    except OSError:
        return 0, ""


def test_flower_asks_for_its_password_and_shows_live_steps(desk: Desk) -> None:
    port = free_port()
    flower = desk.start_farm("flower", "--port", str(port))
    wait_until(lambda: ask(port, "/healthcheck")[0] == 200, what="Flower")
    desk.start_farm("dispatcher")
    desk.start_workers("--devices", "cpu")
    assert desk.farm("submit", str(desk.write_job())).returncode == 0

    seen: list[dict[str, Any]] = []

    def shows_a_step() -> bool:
        seen[:] = json.loads(ask(port, "/api/tasks")[1] or "{}").values()
        return any("step " in str(task.get("result")) for task in seen)

    wait_until(shows_a_step, what="a task with a live step")
    assert ask(port, "/tasks", password=None)[0] == 401
    assert ask(port, "/tasks", password="wrong")[0] == 401
    assert ask(port, "/tasks")[0] == 200
    live = next(task for task in seen if "step " in str(task.get("result")))
    assert str(live["args"]).startswith("job=desk chunk=")
    assert "model=model images=" in str(live["args"])
    assert live["state"] == "DENOISING"
    assert "a secret" not in Path(f"/proc/{flower.pid}/cmdline").read_text()
