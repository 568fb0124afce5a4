"""Exports into a bucket, on every S3 server that the tests know."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.export.buckets import TargetAway
from dispatcher.export.card.sums import SUMS
from dispatcher.export.engine import Way
from dispatcher.export.index import INDEX, Index
from dispatcher.export.targets import Target, TargetRefused, open_target
from export_desk import ExportDesk, hashes, opened_desk
from servers.fixtures import S3_PARTS
from servers.program import free_port
from servers.s3 import S3Bucket
from storage.errors import BlobMissing
from storage.settings import Settings


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ExportDesk]:
    with opened_desk(tmp_path) as desk:
        yield desk


@pytest.mark.parametrize("part", S3_PARTS)
@pytest.mark.parametrize("layout", ["webdataset", "imagefolder"])
def test_a_bucket_gets_what_a_folder_gets_and_grows_alike(
    desk: ExportDesk, tmp_path: Path, use_s3: Callable[[str], S3Bucket], part: str, layout: str
) -> None:
    bucket = use_s3(part)
    settings = Settings(home=tmp_path, s3_endpoint=bucket.server.endpoint, s3_region=bucket.server.region)
    target = open_target(f"s3://{bucket.name}/Sets/One", settings)
    job = desk.painted(axes={"seed": {"count": 6}})

    desk.export(target, job, format=layout, shard_images=4)
    desk.export(tmp_path / "out", job, format=layout, shard_images=4)
    again = desk.export(target, job, format=layout, shard_images=4, way=Way(check=True, append=True))

    assert (again.images, again.kept, again.remade) == (0, 2, ())
    files = hashes(tmp_path / "out")
    assert set(target.list()) == set(files)
    assert {name: target.sha256(name) for name in target.list() if name.startswith(("data/", "metadata/"))} == {
        name: sha256 for name, sha256 in files.items() if name.startswith(("data/", "metadata/"))
    }
    assert Index.decode(target.get(INDEX), place="x").complete
    with pytest.raises(BlobMissing):
        target.get("data/none.tar")


@pytest.mark.parametrize("part", S3_PARTS)
def test_what_a_console_shows_as_folders_is_no_file(
    desk: ExportDesk, tmp_path: Path, use_s3: Callable[[str], S3Bucket], part: str
) -> None:
    bucket, target = in_bucket(use_s3, part, tmp_path)
    for key in ("sets/one/", "sets/one/data/", "sets/one/.farm/"):
        bucket.server.client.put_object(Bucket=bucket.name, Key=key, Body=b"")

    desk.export(target, desk.painted(axes={"seed": {"count": 2}}))

    names = list(target.list())
    assert "data/train-000000.tar" in names
    assert not [name for name in names if not name or name.endswith("/")]
    assert len(target.get(SUMS).splitlines()) == len(names) - 1


@pytest.mark.parametrize("part", S3_PARTS)
@pytest.mark.parametrize("begun", [False, True])
def test_an_object_that_no_file_can_be_called_like_is_named(
    desk: ExportDesk, tmp_path: Path, use_s3: Callable[[str], S3Bucket], part: str, begun: bool
) -> None:
    bucket, target = in_bucket(use_s3, part, tmp_path)
    job = desk.painted(axes={"seed": {"count": 2}})
    if begun:
        desk.export(target, job)
    bucket.server.client.put_object(Bucket=bucket.name, Key="sets/one/data//b", Body=b"x")

    with pytest.raises(TargetRefused, match=r"--to s3://.*: holds 'data//b', which can be no file .*; remove"):
        desk.export(target, job)


def in_bucket(use_s3: Callable[[str], S3Bucket], part: str, home: Path) -> tuple[S3Bucket, Target]:
    """A new bucket and a place in it."""
    bucket = use_s3(part)
    settings = Settings(home=home, s3_endpoint=bucket.server.endpoint, s3_region=bucket.server.region)
    return bucket, open_target(f"s3://{bucket.name}/sets/one", settings)


@pytest.mark.parametrize(
    "address", ["", "s3://", "s3://A_B/x", "s3://bucket/a//b", "gs://bucket/x", "s3://bucket/../x", "~nobody-here/x"]
)
def test_an_address_that_is_none_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(TargetRefused, match="--to"):
        open_target(address, Settings(home=tmp_path))


def test_a_file_is_no_place_for_an_export(desk: ExportDesk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    job = desk.painted(axes={"seed": {"count": 1}})

    with pytest.raises(TargetRefused, match="is a file"):
        desk.export(tmp_path / "file", job)


def test_a_target_that_is_away_is_named_as_the_target(
    desk: ExportDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    job = desk.painted(axes={"seed": {"count": 1}})
    target = open_target("s3://sets/one", Settings(home=tmp_path, s3_endpoint=f"http://127.0.0.1:{free_port()}"))

    with pytest.raises(TargetAway, match=r"--to s3://sets/one does not answer .*FARM_S3_ENDPOINT"):
        desk.export(target, job)
