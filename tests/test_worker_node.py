"""Whole workers: supervisor, Celery node and child, on the fake renderer, a real broker and a folder store."""

from pathlib import Path

import pytest
from worker_desk import Desk, fake_model, worker

NODE = "test-cpu"


@pytest.fixture
def desk(broker_url: str, tmp_path: Path) -> Desk:
    return Desk(broker_url, tmp_path)


def test_a_chunk_becomes_images_and_a_manifest_and_the_dispatcher_hears_of_it(desk: Desk) -> None:
    fake_model(desk.home)
    desk.freeze(model="model", prompt="a fox", steps=3, axes={"seed": {"count": 10}})

    with worker(desk):
        models = desk.resolve(NODE)
        desk.send(desk.message(range(10), models=models), node=NODE)
        manifest = desk.manifest()

    assert [image.number for image in manifest.images] == list(range(10))
