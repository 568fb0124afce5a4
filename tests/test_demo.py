"""The examples with the real renderer and the bundled model: what the README promises."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from dispatcher.service.broker import Broker
from farm_desk import Desk, wait_until
from storage.spec import Job, freeze, read_job_file

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "examples" / "digits" / "model"


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(name: str, **variables: str) -> Desk:
        desks.append(Desk(tmp_path / name, FARM_RENDERER="diffusers", **variables))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_is_a_job(file: Path) -> None:
    spec = freeze(read_job_file(file), base=file.parent, name=file.stem, max_images=10**6)

    assert Job(spec).images > 0


def test_the_demo_renders_at_least_300_images_from_nothing_to_a_contact_sheet(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("demo")

    ran = desk.farm("demo", "--plain", timeout_s=600)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "./farm run examples/scheduler-steps.yaml" in ran.stdout
    assert len(desk.images()) >= 300
    (sheet,) = (desk.folder / "outputs").glob("digits-*/sheet.png")
    with Image.open(sheet) as picture:
        assert min(picture.size) > 300


def test_real_pictures_are_the_same_on_both_sets_of_parts_and_with_two_workers(
    make_desk: Callable[..., Desk], postgres_url: str, broker_url: str, use_s3: Callable[[str], object]
) -> None:
    job = {
        "model": str(DIGITS), "plan": {"batch": 4, "threads": 1}, "steps": 6, "previews": {"every": 2, "keep": True},
        "axes": {
            "prompt": ["a red seven on white", "a thick blue two on gray"], "seed": {"derive": 3, "over": ["prompt"]},
            "scheduler": ["ddim", "euler_a"],
        },
    }  # fmt: skip
    laptop = make_desk("laptop")
    ran = laptop.farm("run", str(laptop.write_job(**job)), "--plain", "--out", "pictures")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    bucket = use_s3("ministack")
    rack = make_desk(
        "rack", FARM_DATABASE_URL=postgres_url, FARM_BROKER_URL=broker_url, FARM_CHUNK_S="1",
        FARM_STORE_URL=bucket.url, FARM_S3_ENDPOINT=bucket.endpoint,  # type: ignore[attr-defined]
    )  # fmt: skip
    rack.env |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    rack.start_farm("dispatcher")
    rack.start_workers("--devices", "cpu,cpu")
    wait_until(lambda: len(_idle_workers(broker_url)) == 2, what="two workers that could share the job")
    refused = rack.farm("submit", str(rack.write_job(**job)))
    added = rack.farm("model", "add", "digits", str(DIGITS))
    queued = rack.farm("submit", str(rack.write_job(**{**job, "model": "digits"})))
    assert (added.returncode, queued.returncode) == (0, 0), added.stdout + added.stderr + queued.stderr

    watched = rack.farm("watch", "@last", "--plain")

    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert refused.returncode == 2
    assert "farm model add NAME" in refused.stderr
    theirs, ours = laptop.images(), rack.images()
    assert sorted(ours) == list(range(12))
    assert {n: row.pixel_sha256 for n, row in ours.items()} == {n: row.pixel_sha256 for n, row in theirs.items()}
    assert {n: row.sha256 for n, row in ours.items()} == {n: row.sha256 for n, row in theirs.items()}
    assert len({row.worker for row in ours.values()}) == 2, "both workers had a part"
    assert all(row.preview_key for row in ours.values())
    with Image.open(next((laptop.folder / "pictures").glob("000000_*.png"))) as picture:
        assert picture.size == (64, 64)
        assert '"recipe"' in picture.info["seedfarm"]


def _idle_workers(broker_url: str) -> list[str]:
    return [beat.node for beat in Broker(broker_url).hear().heartbeats]
