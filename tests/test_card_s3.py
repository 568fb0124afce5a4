"""The card of an export in a bucket: made from what lies there, on every S3 server that the tests know."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from card_folders import exported, job
from dispatcher.export.buckets import S3Target
from dispatcher.export.card.finishing import finish
from dispatcher.export.card.sums import SUMS, read_sums
from dispatcher.export.targets import FolderTarget
from servers.fixtures import S3_PARTS
from servers.s3 import S3Bucket

LAYOUTS = ["webdataset", "parquet", "imagefolder", "folder"]
MADE = {"README.md", "croissant.json", "LICENSE-NOTES.md", SUMS}


class Counted(S3Target):
    """A bucket that knows which files were read."""

    def __init__(self, bucket: S3Bucket) -> None:
        super().__init__(bucket.name, prefix="Sets/One", endpoint=bucket.server.endpoint, region=bucket.server.region)
        self.read: list[str] = []

    def get(self, name: str) -> bytes:
        self.read.append(name)
        return super().get(name)


@pytest.fixture(params=S3_PARTS)
def bucket(request: pytest.FixtureRequest, use_s3: Callable[[str], S3Bucket]) -> Counted:
    target = Counted(use_s3(request.param))
    target.prepare()
    return target


def brought(folder: Path, target: S3Target, layout: str) -> Any:
    """An export without its card, in a folder and in a bucket. Returns its index."""
    here, index = exported(folder, layout, splits=("train", "test"))
    for name in here.list():
        target.put(name, here.get(name))
    return index


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_card_in_a_bucket_is_that_of_a_folder_to_the_byte(bucket: Counted, tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "out"
    index = brought(folder, bucket, layout)

    finish(bucket, index, [job()])
    finish(FolderTarget(folder), index, [job()])

    made = {name for name in bucket.list() if name in MADE or name.startswith("plots/")}
    assert made == {*MADE, "plots/sample.png", "plots/settings.png", "plots/reasons.png", "plots/scores.png"}
    for name in made:
        assert bucket.get(name) == (folder / name).read_bytes(), name
    with Image.open(io.BytesIO(bucket.get("plots/sample.png"))) as mosaic:
        assert mosaic.width > 300


def test_checksums_of_a_bucket_are_those_of_its_objects(bucket: Counted, tmp_path: Path) -> None:
    index = brought(tmp_path / "out", bucket, "webdataset")

    finish(bucket, index, [job()])

    told = dict(read_sums(bucket.get(SUMS).decode()))
    assert set(told) == set(bucket.list()) - {SUMS}
    assert {name: hashlib.sha256(bucket.get(name)).hexdigest() for name in told} == told


@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_shards_too_large_to_fetch_are_not_read_for_a_card(
    bucket: Counted, tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.export.card.plots.sample._FETCHED", 1000)
    index = brought(tmp_path / "out", bucket, layout)

    finish(bucket, index, [job()])

    assert not [name for name in bucket.read if name.startswith("data/")]
    assert "plots/sample.png" not in set(bucket.list())
    text = bucket.get("README.md").decode()
    assert "sample.png" not in text
    assert ("dataset_info:" in text) == (layout == "parquet")


def test_a_card_that_is_made_again_is_the_same(bucket: Counted, tmp_path: Path) -> None:
    index = brought(tmp_path / "out", bucket, "parquet")
    finish(bucket, index, [job()])
    before = bucket.get(SUMS)

    finish(bucket, index, [job()])

    assert bucket.get(SUMS) == before
