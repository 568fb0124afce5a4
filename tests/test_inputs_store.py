"""Input images in the object store: sent once by submitting or by farm put, read by workers."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dispatcher.cli import main
from dispatcher.farm import Farm
from dispatcher.inputs import store_inputs
from dispatcher.submission import Submission, submit
from input_pictures import CORNERS, corners, encoded, photograph, png, quarters, write
from servers.fixtures import S3_PARTS
from servers.s3 import S3Bucket
from storage.blobs import BlobStore, FolderStore
from storage.blobs.s3 import S3Store
from storage.errors import StoreAway, UserError
from storage.settings import load_settings
from storage.spec import Spec, check_job_file, freeze
from storage.sql import jobs
from storage.wire.keys import input_key
from worker.runs.inputs import Inputs, InputUnusable
from worker.runs.patience import Patience

GIVEN_UP = Patience(ends=lambda: True)
CAP = 10**6


def name_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def frozen(folder: Path, **entries: Any) -> Spec:
    raw = {"model": "owner/name", "prompt": "a fox", "mode": "image-to-image", **entries}
    return freeze(check_job_file(raw), base=folder, name="job", max_images=10**6)


def stored(store: BlobStore) -> list[str]:
    return [info.key for info in store.list("inputs/")]


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Farm:
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Farm(load_settings())


@pytest.fixture(params=["folder", *S3_PARTS])
def store(request: pytest.FixtureRequest, tmp_path: Path, use_s3: Callable[[str], S3Bucket]) -> BlobStore:
    if request.param == "folder":
        store: BlobStore = FolderStore(tmp_path / "blobs")
    else:
        bucket = use_s3(request.param)
        store = S3Store(bucket.name, prefix="some/where", endpoint=bucket.endpoint)
    store.check()
    return store


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "blobs")
    store.check()
    return store


class Counting(FolderStore):
    """A folder that counts what is written, and how many write at once."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.puts = 0
        self.at_once = self.most = 0
        self._count = threading.Lock()
        self.check()

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        with self._count:
            self.puts, self.at_once = self.puts + 1, self.at_once + 1
            self.most = max(self.most, self.at_once)
        super().put(key, data, content_type=content_type)
        with self._count:
            self.at_once -= 1


def submitted(farm: Farm, spec: Spec, **options: Any) -> Submission:
    return submit(spec, settings=farm.settings, database=farm.database, store=farm.store, source="x", **options)


def test_every_picture_is_sent_once(store: BlobStore, tmp_path: Path) -> None:
    for place, shade in enumerate((1, 2, 1)):
        write(tmp_path / "p" / f"{place}.png", png(shade))
    spec = frozen(tmp_path, axes={"init_image": {"folder": "p"}})

    sent = [store_inputs(spec.inputs, spec.files, store=store) for _ in range(2)]

    assert sent == [2, 0]
    assert stored(store) == sorted(input_key(name_of(png(shade))) for shade in (1, 2))
    assert store.get(input_key(name_of(png(1)))) == png(1)


def test_a_picture_that_lay_there_for_long_is_put_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "blobs")
    store.check()
    write(tmp_path / "in" / "a.png", png(1))
    spec = frozen(tmp_path, axes={"init_image": {"folder": "in"}})
    store_inputs(spec.inputs, spec.files, store=store)
    (key,) = stored(store)
    os.utime(store.locate(key), (0, 0))

    store_inputs(spec.inputs, {}, store=store)

    assert next(iter(store.list(key))).modified > time.time() - 60


def test_progress_is_told_for_each_and_few_are_sent_at_once(tmp_path: Path) -> None:
    for shade in range(200):
        write(tmp_path / "p" / f"{shade}.png", png(shade))
    spec, store, told = frozen(tmp_path, axes={"init_image": {"folder": "p"}}), Counting(tmp_path / "blobs"), []

    store_inputs(spec.inputs, spec.files, store=store, say=lambda done, total: told.append((done, total)))

    assert told == [(done, 200) for done in range(1, 201)]
    assert store.puts == 200
    assert 1 <= store.most <= 8


def test_a_job_is_there_with_its_pictures(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path / "a.png", png())

    row = submitted(farm, frozen(tmp_path, init_image="a.png")).row

    assert stored(farm.store) == [input_key(name_of(png()))]
    assert farm.specs.load(row.id, spec_hash=row.spec_hash).spec.inputs[name_of(png())]["name"] == "a.png"


def test_a_picture_of_a_hash_alone_must_be_there(farm: Farm, tmp_path: Path) -> None:
    names = [name_of(png(shade)) for shade in range(5)]
    spec = frozen(tmp_path, axes={"init_image": names})
    farm.store.put(input_key(names[0]), png(0))

    with pytest.raises(UserError) as caught:
        submitted(farm, spec)

    assert str(caught.value) == (
        f"input images {names[1]}, {names[2]}, {names[3]} and 1 more: not in this farm's store; "
        "'farm put FILE' brings one there"
    )
    assert [info.key for info in farm.store.list("jobs/")] == []
    with farm.database.read() as connection:
        assert jobs.same_spec(connection, spec.hash, user=farm.settings.user) is None


def test_a_file_that_changed_after_freezing_is_not_sent(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path / "a.png", png(1))
    write(tmp_path / "b.png", png(2))
    changed, gone = frozen(tmp_path, init_image="a.png"), frozen(tmp_path, init_image="b.png")
    write(tmp_path / "a.png", png(3))
    (tmp_path / "b.png").unlink()

    with pytest.raises(UserError, match="has changed since it was looked at"):
        submitted(farm, changed)
    with pytest.raises(UserError, match="cannot be read any more"):
        submitted(farm, gone)

    assert stored(farm.store) == []


def test_a_sample_of_a_job_brings_its_pictures_along(farm: Farm, tmp_path: Path) -> None:
    write(tmp_path / "a.png", png())

    submitted(farm, replace(frozen(tmp_path, init_image="a.png"), sample=1))

    assert stored(farm.store) == [input_key(name_of(png()))]


def put(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["put", *words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_put_prints_a_line_for_each(farm: Farm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "p" / "2.png", png(2))
    write(tmp_path / "p" / "10.png", png(2))
    write(tmp_path / "a.jpg", encoded(quarters(), "JPEG"))

    first, again = put(capsys, "a.jpg", "p"), put(capsys, "a.jpg", "p")
    as_json = put(capsys, "--json", "a.jpg")

    photo, shade = name_of(encoded(quarters(), "JPEG")), name_of(png(2))
    lines = [f"{photo}  a.jpg  48x32", f"{shade}  p/2.png  8x8", f"{shade}  p/10.png  8x8"]
    assert first == again == (0, "\n".join(lines) + "\n", "")
    assert json.loads(as_json[1]) == [{
        "sha256": photo, "name": "a.jpg", "width": 48, "height": 32, "bytes": len(encoded(quarters(), "JPEG")),
        "format": "JPEG",
    }]  # fmt: skip
    assert stored(farm.store) == sorted([input_key(photo), input_key(shade)])


def test_put_refuses_in_one_line(farm: Farm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "p" / "bad.png", b"<svg/>")
    (tmp_path / "bare").mkdir()

    for words, message in (
        (("p",), "bad.png': is no PNG"),
        (("none.png",), "no such file"),
        (("bare",), "holds no PNG"),
        ((name_of(png()),), "not in this farm's store"),
        (("https://example.org/x.png",), "FARM_INPUT_HOSTS"),
    ):
        code, out, err = put(capsys, *words)

        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert message in err
    assert stored(farm.store) == []


def test_a_job_can_use_what_was_put(farm: Farm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.png", png())
    put(capsys, "a.png")

    assert submitted(farm, frozen(tmp_path, init_image=name_of(png()))).is_new


def test_a_worker_reads_a_picture_upright_and_once(store: BlobStore) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(quarters().transpose(Image.Transpose.ROTATE_90), exif=exif)
    store.put(input_key(name_of(data)), data)
    inputs = Inputs(store, max_pixels=CAP)

    first = inputs.get(name_of(data), patience=GIVEN_UP)
    store.delete([input_key(name_of(data))])

    assert (first.size, corners(first)) == ((48, 32), list(CORNERS))
    assert inputs.get(name_of(data), patience=GIVEN_UP) is first


def test_a_worker_keeps_the_last_used_pixels(folder_store: FolderStore) -> None:
    for shade in range(4):
        folder_store.put(input_key(name_of(png(shade))), png(shade))
    names = [name_of(png(shade)) for shade in range(4)]
    inputs = Inputs(folder_store, max_pixels=CAP, kept_bytes=2 * 64)  # two of 8 x 8 grey pixels

    kept = [inputs.get(names[place], patience=GIVEN_UP) for place in (0, 1, 0, 2)]

    assert inputs.get(names[0], patience=GIVEN_UP) is kept[0]
    assert inputs.get(names[2], patience=GIVEN_UP) is kept[3]
    assert inputs.get(names[1], patience=GIVEN_UP) is not kept[1]


def test_a_picture_larger_than_all_that_is_kept_is_still_given(folder_store: FolderStore) -> None:
    data = encoded(photograph())
    folder_store.put(input_key(name_of(data)), data)

    assert Inputs(folder_store, max_pixels=CAP, kept_bytes=1).get(name_of(data), patience=GIVEN_UP).size == (64, 48)


def test_a_picture_that_cannot_be_had_fails_its_image_alone(folder_store: FolderStore) -> None:
    good, other, small = png(1), png(2), png(3, size=(200, 200))
    folder_store.put(input_key(name_of(good)), good)
    folder_store.put(input_key(name_of(other)), b"something else")
    folder_store.put(input_key(name_of(small)), small)
    inputs = Inputs(folder_store, max_pixels=10_000)
    recipes = [{"prompt": "a fox", "init_image": name_of(good), "mask": name} for name in (
        name_of(good), name_of(png(9)), name_of(other), name_of(small),
    )]  # fmt: skip

    flaws = [inputs.flaw(recipe, patience=GIVEN_UP) for recipe in recipes]

    assert flaws[0] is None
    assert [flaw.reason for flaw in flaws if flaw] == ["input_missing", "input_unusable", "input_unusable"]
    assert [flaw.detail[:12] for flaw in flaws if flaw] == ["mask: sha256"] * 3
    assert inputs.flaw({"prompt": "a fox"}, patience=GIVEN_UP) is None
    with pytest.raises(InputUnusable, match="submit the job anew"):
        inputs.get(name_of(png(9)), patience=GIVEN_UP)


def test_a_store_that_is_away_is_no_missing_picture(folder_store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")

    with pytest.raises(StoreAway):
        Inputs(folder_store, max_pixels=CAP).get(name_of(png()), patience=GIVEN_UP)
