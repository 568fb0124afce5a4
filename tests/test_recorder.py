"""From manifests to rows: what is honest is written once, what is forged is refused and writes nothing."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from desk import MODEL, DispatcherDesk, failed
from storage.errors import BlobMissing, FarmError, ManifestRefused
from storage.sql import Database, images, jobs
from storage.states import ChunkState, ImageState, JobState


@pytest.fixture
def desk(database: Database, tmp_path: Path, broker_url: str) -> DispatcherDesk:
    return DispatcherDesk(database, tmp_path, broker_url)


@pytest.fixture
def light_desk(tmp_path: Path, broker_url: str) -> DispatcherDesk:
    """Return one on SQLite alone, for what is decided before SQL."""
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    return DispatcherDesk(database, tmp_path, broker_url)


def test_a_manifest_becomes_one_row_an_image(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()

    assert desk.recorder.record(desk.put(desk.manifest(chunk)))

    rows = desk.images(job_id)
    assert sorted(rows) == sorted(chunk.numbers)
    assert {row.state for row in rows.values()} == {ImageState.DONE}
    assert (desk.job(job_id).done, desk.job(job_id).failed) == (len(chunk.numbers), 0)
    assert {(row.model_digest, row.plan["batch"], row.worker) for row in rows.values()} == {(MODEL.digest, 4, "n1")}


def test_recording_twice_writes_once(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    keys = [desk.put(desk.manifest(chunk)) for _ in range(2)]  # the same run again, and another run of the attempt

    recorded = [desk.recorder.record(key) for key in (*keys, keys[0])]

    assert recorded == [True, False, False]
    assert desk.job(job_id).done == len(chunk.numbers)


def test_recording_at_once_writes_once(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    keys = [desk.put(desk.manifest(chunk)) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        recorded = list(pool.map(desk.recorder.record, keys))

    assert sorted(recorded) == [False, False, False, True]
    assert desk.job(job_id).done == len(chunk.numbers) == len(desk.images(job_id))


def test_what_was_not_tried_becomes_a_chunk_of_its_own(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    first, second, *rest = list(chunk.numbers)
    untried = [[number, number + 1, 1] for number in rest]

    desk.recorder.record(desk.put(desk.manifest(chunk, failed=[failed(first)], untried=untried)))

    (again,) = desk.chunks(ChunkState.READY)
    assert (list(again.numbers), again.plan, again.model, again.attempt) == (rest, chunk.plan, chunk.model, 0)
    assert {number: row.state for number, row in desk.images(job_id).items()} == {first: "failed", second: "done"}
    assert (desk.job(job_id).done, desk.job(job_id).failed) == (1, 1)


def test_a_job_is_done_when_its_last_image_is(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    desk.recorder.record(desk.put(desk.manifest(chunk, failed=[failed(next(iter(chunk.numbers)))])))
    assert desk.job(job_id).state == JobState.RUNNING

    desk.finish()

    row = desk.job(job_id)
    assert (row.state, row.done, row.failed) == (JobState.DONE, 15, 1)
    assert sorted(desk.images(job_id)) == list(range(16))
    assert row.finished_at is not None


def test_a_fatal_report_fails_the_job_once_and_drops_what_waits(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    rest = [[number, number + 1, 1] for number in chunk.numbers]
    desk.recorder.record(desk.put(desk.manifest(chunk, images=[], untried=rest)))
    desk.feed()
    one, two = desk.chunks()[:2]

    recorded = [
        desk.recorder.record(desk.put(desk.manifest(part, images=[], fatal="no weights"))) for part in (one, two)
    ]

    row = desk.job(job_id)
    assert recorded == [True, True]
    assert (row.state, row.reason, row.done) == (JobState.FAILED, "no weights", 0)
    assert desk.chunks(ChunkState.READY) == []
    assert desk.feed() == 0


def test_an_empty_prompt_and_every_odd_text_come_back(desk: DispatcherDesk) -> None:
    texts = ["", "🦊\n\t\"'%s", "x" * 10_000, "\u202e\x01"]
    job_id = desk.submit(axes={"prompt": texts, "negative_prompt": [None, ""]})

    desk.finish()

    rows = desk.images(job_id)
    assert [rows[2 * place].prompt for place in range(4)] == texts
    assert [rows[place].negative_prompt for place in range(2)] == [None, ""]


def test_options_and_flags_become_columns(desk: DispatcherDesk) -> None:
    axes = {"loras": [[], {"model": "./m", "scale": 0.5}], "clip_skip": [0, 2], "scheduler": [None, "ddim"]}
    job_id, chunk = desk.started(axes=axes, vae="./m", plan={"batch": 8})
    manifest = desk.manifest(chunk)
    manifest["images"][0]["flags"] = ["truncated"]
    manifest["images"][1]["flags"] = ["nsfw", "low_variance"]

    desk.recorder.record(desk.put(manifest))
    desk.finish()

    rows = desk.images(job_id)
    said = [(row.options["loras"], row.options["clip_skip"], row.scheduler) for _, row in sorted(rows.items())]
    assert said == [
        ("none", 0, "own"), ("none", 0, "ddim"), ("none", 2, "own"), ("none", 2, "ddim"),
        ("m:0.5", 0, "own"), ("m:0.5", 0, "ddim"), ("m:0.5", 2, "own"), ("m:0.5", 2, "ddim"),
    ]  # fmt: skip
    assert {row.options["vae"] for row in rows.values()} == {"./m"}
    flags = [rows[made["number"]].flags for made in manifest["images"][:3]]
    assert flags == [["truncated"], ["nsfw", "low_variance"], []]
    with desk.database.read() as connection:
        assert images.flag_counts(connection, job_id) == {"truncated": 1, "nsfw": 1, "low_variance": 1}


def test_an_image_without_prompt_and_guidance_is_recorded_without_them(desk: DispatcherDesk) -> None:
    job_id = desk.submit(mode="unconditional", axes={"seed": {"count": 3}}, plan={})

    desk.finish()

    assert {(row.prompt, row.negative_prompt, row.guidance_scale) for row in desk.images(job_id).values()} == {
        (None, None, None)
    }


def test_device_time_is_counted_with_every_manifest(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started(plan={"batch": 16})
    before = desk.job(job_id).device_seconds

    desk.recorder.record(desk.put(desk.manifest(chunk, seconds={"total": 12.5, "load": 3.0})))

    assert desk.job(job_id).device_seconds == before + 12.5


def test_a_manifest_of_an_earlier_spec_of_the_job_counts(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    manifest = desk.manifest(chunk)
    with desk.database.write() as connection:
        jobs.change(connection, job_id, specs=[desk.job(job_id).spec_hash], spec_hash="the spec of more images")

    assert desk.recorder.record(desk.put(manifest))

    assert desk.job(job_id).done == len(chunk.numbers)


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"height": -8}, {"width": 10**9}, {"width": None}, {"kind": "lora"}, {"guidance_scale": -1}]
)
def test_a_model_that_cannot_be_rendered_with_is_refused(light_desk: DispatcherDesk, wrong: dict[str, Any]) -> None:
    light_desk.submit()
    light_desk.feed()
    manifest = light_desk.manifest(light_desk.issued(), models={"./m": {**MODEL.model_dump(), **wrong}})

    with pytest.raises(ManifestRefused):
        light_desk.recorder.record(light_desk.put(manifest))


def test_a_report_about_other_models_is_refused(desk: DispatcherDesk) -> None:
    desk.submit()
    desk.feed()
    manifest = desk.manifest(desk.issued(), models={})

    with pytest.raises(ManifestRefused, match="resolves"):
        desk.recorder.record(desk.put(manifest))


@pytest.mark.parametrize("key", ["", "../x", "a\0b", "JOBS", "jobs/x/0.1-y/../manifest.json"])
def test_a_key_that_no_store_has_is_refused(light_desk: DispatcherDesk, key: str) -> None:
    with pytest.raises(ManifestRefused, match="no key"):
        light_desk.recorder.record(key)


def test_a_manifest_must_lie_where_its_run_writes(desk: DispatcherDesk) -> None:
    _, chunk = desk.started()
    manifest = desk.manifest(chunk)

    for key in ("jobs/elsewhere/manifest.json", desk.put(manifest).replace("manifest.json", "x/manifest.json")):
        with pytest.raises(ManifestRefused, match="names the run"):
            desk.recorder.record(desk.put(manifest, key=key))
    desk.store.put("no.json", b"\xff{")
    with pytest.raises(ManifestRefused):
        desk.recorder.record("no.json")
    with pytest.raises(BlobMissing):
        desk.recorder.record("nothing.json")


def test_a_nul_in_an_error_does_not_stop_the_record(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    number = next(iter(chunk.numbers))

    desk.recorder.record(desk.put(desk.manifest(chunk, failed=[failed(number, detail="a\0b")])))

    assert desk.images(job_id)[number].detail == "a\ufffdb"


def test_who_does_not_lead_records_nothing(desk: DispatcherDesk) -> None:
    job_id, chunk = desk.started()
    desk.lead.give_up()
    assert DispatcherDesk(desk.database, desk.folder, "redis://127.0.0.1:1/0").lead.leads

    with pytest.raises(FarmError, match="another dispatcher"):
        desk.recorder.record(desk.put(desk.manifest(chunk)))

    assert desk.images(job_id) == {}
