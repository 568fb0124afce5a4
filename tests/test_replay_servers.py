"""Provenance, verify, replay and rerun on a farm of servers: PostgreSQL, and each S3 server that the tests know."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import update

from farm_desk import Desk
from replay_desk import stained
from servers.s3 import S3Bucket
from storage.blobs import BlobStore, open_store
from storage.sql import Database
from storage.sql.tables import image


@pytest.fixture
def desk(tmp_path: Path, postgres_url: str, s3_bucket: S3Bucket) -> Iterator[Desk]:
    server = s3_bucket.server
    desk = Desk(
        tmp_path, FARM_DATABASE_URL=postgres_url, FARM_STORE_URL=s3_bucket.url, FARM_S3_ENDPOINT=server.endpoint,
        FARM_S3_REGION=server.region,
    )  # fmt: skip
    axes = {"prompt": ["a fox", "two foxes"], "seed": {"derive": 2}}
    file = desk.write_job(axes=axes, width=128, height=128)
    ended = desk.farm("run", str(file), "--plain")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    yield desk
    desk.close()


@pytest.fixture
def store(desk: Desk) -> BlobStore:
    env = desk.env
    return open_store(env["FARM_STORE_URL"], endpoint=env["FARM_S3_ENDPOINT"], region=env["FARM_S3_REGION"])


def said(desk: Desk, *arguments: str, code: int = 0) -> dict[str, object]:
    ended = desk.farm(*arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def test_a_stored_picture_is_found_verified_and_rendered_again(desk: Desk, store: BlobStore, tmp_path: Path) -> None:
    rows = desk.images()
    keys = {number: str(row.key) for number, row in rows.items()}
    file, bare, small = (tmp_path / name for name in ("file.png", "bare.png", "small.jpg"))
    file.write_bytes(store.get(keys[2]))
    picture = Image.open(io.BytesIO(file.read_bytes())).convert("RGB")
    picture.save(bare)
    picture.resize((72, 72)).save(small)

    found = [said(desk, "image", str(one))["found"] for one in (file, bare, small)]
    whole = said(desk, "verify", "@last", "--json")
    forget(desk, 3)
    store.put(keys[1], stained(store.get(keys[1])))
    store.delete([keys[0]])
    spoiled = said(desk, "verify", "@last", "--json", code=1)
    replayed = said(desk, "verify", "desk", "--replay", "4", "--json", code=1)
    again = said(desk, "rerun", "desk", "2", "--to", "again.png", "--json")
    by_file = said(desk, "rerun", str(bare), "--to", "by-file.png", "--json")

    assert [(one["by"], one["image_id"]) for one in found] == [  # type: ignore[index]
        (by, f"{rows[2].job}/2") for by in ("file", "pixels", "looks")
    ]
    assert (whole["made"], whole["decoded"], whole["faults"]) == (4, 4, [])
    faults = {one["image_id"].rpartition("/")[2]: one["kind"] for one in spoiled["faults"]}  # type: ignore[attr-defined]
    assert faults == {"0": "missing", "1": faults["1"]}
    assert faults["1"] in ("size", "hash")
    assert spoiled["measured"] == 1
    assert desk.images("desk")[3].phash == rows[3].phash
    grades = {one["image"]: one["grade"] for one in replayed["images"]}  # type: ignore[attr-defined]
    assert grades == {"0": "C", "1": grades["1"], "2": "A", "3": "A"}
    assert grades["1"] in ("B", "C")
    assert (again["grade"], by_file["grade"]) == ("A", "A")
    assert (tmp_path / "again.png").read_bytes() == file.read_bytes()
    assert {row.job for row in desk.images("@last").values()} == {rows[2].job}  # replays left no job behind


def forget(desk: Desk, number: int) -> None:
    """Make an image look as older farms recorded it."""
    database = Database(desk.env["FARM_DATABASE_URL"])
    with database.write() as connection:
        connection.execute(update(image).where(image.c.number == number).values(phash=None))
    database.close()
