"""Forged and wrong manifests: refused with a reason that their job's log tells, and nothing else is written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desk import MODEL, DispatcherDesk, failed
from storage.errors import ManifestRefused
from storage.sql import Database, events


@pytest.fixture
def light_desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    """Return one on SQLite alone, for what is decided before SQL."""
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url)


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.update({key: value})


def of_image(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["images"][0].update({key: value})


def fault(ranges: list[list[int]], *, reason: str = "device_error") -> Callable[[dict[str, Any]], None]:
    return change("fault", {"reason": reason, "detail": "x", "ranges": ranges})


FORGERIES = [
    pytest.param(change("attempt", 2), "attempt 2 was never issued", id="attempt to come"),
    pytest.param(change("attempt", 0), "attempt 0 was never issued", id="attempt zero"),
    pytest.param(change("chunk", 99), "no such chunk", id="chunk"),
    pytest.param(change("job", "other"), "no such chunk", id="job"),
    pytest.param(change("spec_hash", "x"), "is about spec x", id="spec"),
    pytest.param(change("plan", None), "another plan", id="plan"),
    pytest.param(change("models", {"./m": {**MODEL.model_dump(), "digest": "sha256:b"}}), "other bytes", id="model"),
    pytest.param(change("models", {"./x": MODEL.model_dump()}), "other bytes", id="unknown model"),
    pytest.param(change("images", []), "does not account for", id="numbers forgotten"),
    pytest.param(change("failed", [failed(10**6)]), "does not account for", id="number of another chunk"),
    pytest.param(change("failed", [failed(0)]), "an image twice", id="made and failed"),
    pytest.param(lambda manifest: manifest["images"].append(manifest["images"][0]), "an image twice", id="made twice"),
    pytest.param(change("untried", [[0, 10**15, 1]]), "untried", id="endless range"),
    pytest.param(change("untried", [[0, 10**30, 1]]), "untried", id="range beyond counting"),
    pytest.param(change("untried", [[0, 5, 0]]), "untried is no list of ranges", id="step zero"),
    pytest.param(change("untried", [[]]), "untried is no list of ranges", id="empty range"),
    pytest.param(of_image("key", "jobs/other/0.1-x/000000000.png"), "another object", id="key of another job"),
    pytest.param(of_image("preview", "a.jpg"), "another object", id="preview elsewhere"),
    pytest.param(of_image("recipe_hash", "x"), "another recipe", id="recipe"),
    pytest.param(of_image("flags", ["nsfw", "fine"]), "unknown flag 'fine'", id="unknown flag"),
    pytest.param(of_image("number", -1), "greater than or equal", id="number below zero"),
    pytest.param(of_image("bytes", 2**70), "less than", id="more bytes than a column holds"),
    pytest.param(of_image("seconds", {"render": float("nan")}), "finite number", id="nan"),
    pytest.param(change("seconds", {"total": float("inf")}), "finite number", id="infinity"),
    pytest.param(change("environment", {"x": float("nan")}), "no plain JSON", id="nan in the environment"),
    pytest.param(fault([[0, 1, 1]]), "it does not leave untried", id="fault of an image that was made"),
    pytest.param(fault([[0, 10**15, 1]]), "what the fault names", id="fault without end"),
    pytest.param(fault([[0, 5, 0]]), "what the fault names is no list", id="fault of step zero"),
    pytest.param(fault([], reason="bored"), "out_of_memory", id="fault of another kind"),
    pytest.param(change("manifest_schema", 2), "", id="schema"),
    pytest.param(change("more", 1), "Extra inputs", id="unknown key"),
]


@pytest.mark.parametrize(("forge", "message"), FORGERIES)
def test_a_forged_manifest_is_refused_and_nothing_is_written(
    light_desk: DispatcherDesk, forge: Callable[[dict[str, Any]], None], message: str
) -> None:
    desk = light_desk
    job_id, chunk = desk.started()
    manifest = desk.manifest(chunk)
    forge(manifest)
    key = desk.put(manifest)

    with pytest.raises(ManifestRefused) as caught:
        desk.recorder.record(key)

    assert message in str(caught.value)
    assert desk.images(job_id) == {}
    assert desk.job(job_id).done == 0
    assert ("manifest refused" in desk.events(job_id)) == key.startswith(f"jobs/{job_id}/")
    assert desk.recorder.record(desk.put(desk.manifest(chunk)))  # an honest one is still welcome


def test_a_refusal_is_told_once_and_a_stranger_is_told_nothing(light_desk: DispatcherDesk) -> None:
    job_id, chunk = light_desk.started()
    keys = [light_desk.put(light_desk.manifest(chunk, spec_hash="x")), "jobs/nobody/1.1-x/manifest.json"]
    light_desk.store.put(keys[1], b"{}")

    for key in keys * 2:
        with pytest.raises(ManifestRefused):
            light_desk.recorder.record(key)

    with light_desk.database.read() as connection:
        told = [event for event in events.of_job(connection, job_id) if event.what == "manifest refused"]
        assert events.of_job(connection, "nobody") == []
    assert len(told) == 1
    assert "is about spec x" in told[0].detail


def test_a_manifest_of_any_size_is_not_read(light_desk: DispatcherDesk) -> None:
    _, chunk = light_desk.started()
    key = light_desk.put(light_desk.manifest(chunk))
    os.truncate(light_desk.store.locate(key), 65 * 2**20)  # sparse: it takes no room

    with pytest.raises(ManifestRefused, match="a manifest at most"):
        light_desk.recorder.record(key)
