"""An export is the same to the byte however it was made, goes on where it was cut off, and grows by what is new."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.export import engine
from dispatcher.export.beginning import ExportRefused
from dispatcher.export.counting import Progress
from dispatcher.export.engine import Way
from dispatcher.export.index import INDEX
from dispatcher.export.loading import ImageUnreadable
from dispatcher.export.targets import FolderTarget, TargetRefused
from export_desk import ExportDesk, hashes, opened_desk, rejected, table
from storage.states import ImageState

LAYOUTS = ["webdataset", "imagefolder", "parquet", "folder"]
SPLIT = {"split": "train=0.7,test=0.3", "shard_images": 5}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExportDesk]:
    """A farm; the card, which has tests of its own, is left out."""
    monkeypatch.setattr("dispatcher.export.card.finishing.finish", lambda target, index, jobs: None)
    with opened_desk(tmp_path) as desk:
        yield desk


class Killed(BaseException):
    """What ends a process in the middle."""


class Dying(FolderTarget):
    """A target whose process dies before its n-th file is put."""

    def __init__(self, root: Path, *, lives: int) -> None:
        super().__init__(root)
        self.lives = lives

    def put(self, name: str, data: bytes | Path, *, lasting: bool = True) -> None:
        self._die()
        super().put(name, data, lasting=lasting)

    def take(self, name: str, draft: Path) -> None:
        self._die()
        super().take(name, draft)

    def _die(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise Killed


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bytes_depend_on_neither_readers_nor_crashes(desk: ExportDesk, tmp_path: Path, layout: str) -> None:
    job = desk.painted(axes={"prompt": ["a", "b"], "seed": {"count": 12}}, scheduler="ddim")
    desk.export(tmp_path / "one", job, format=layout, way=Way(workers=1), **SPLIT)
    desk.export(tmp_path / "four", job, format=layout, way=Way(workers=4), **SPLIT)
    crashes = 0
    for lives in range(1, 200):
        try:
            desk.export(Dying(tmp_path / "torn", lives=lives), job, format=layout, **SPLIT)
            break
        except Killed:
            crashes += 1

    assert crashes > 5
    assert hashes(tmp_path / "one") == hashes(tmp_path / "four") == hashes(tmp_path / "torn")


def test_a_repeated_export_reads_nothing_again(
    desk: ExportDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = desk.painted()
    desk.export(tmp_path / "out", job, shard_images=4)
    before = hashes(tmp_path / "out")
    monkeypatch.setattr(desk.store, "get", lambda key: pytest.fail(f"read {key}"))

    outcome = desk.export(tmp_path / "out", job, shard_images=4)

    assert (outcome.images, outcome.kept, outcome.remade) == (0, 4, ())
    assert hashes(tmp_path / "out") == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_shard_is_found_and_made_again(desk: ExportDesk, tmp_path: Path, layout: str) -> None:
    job = desk.painted()
    desk.export(tmp_path / "out", job, format=layout, shard_images=4)
    before = hashes(tmp_path / "out")
    victim = min(path for path in (tmp_path / "out" / "data").rglob("*") if path.is_file())
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)

    outcome = desk.export(tmp_path / "out", job, format=layout, shard_images=4, way=Way(check=True))

    assert len(outcome.remade) == 1
    assert hashes(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"where": "steps > 5"}, "--where was not given, now 'steps > 5'", id="where"),
        pytest.param({"shard_images": 5}, "--shard-images was 4, now 5", id="shards"),
        pytest.param({"format": "parquet"}, "--as was 'webdataset', now 'parquet'", id="layout"),
        pytest.param({"encode": "jpeg"}, "--format was not given, now 'jpeg'", id="encoding"),
    ],
)
def test_other_options_are_refused_by_name(
    desk: ExportDesk, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    job = desk.painted()
    desk.export(tmp_path / "out", job, shard_images=4)

    with pytest.raises(ExportRefused) as refused:
        desk.export(tmp_path / "out", job, **{"shard_images": 4, **changed})

    assert said in str(refused.value)


def test_the_last_word_of_progress_counts_every_shard(desk: ExportDesk, tmp_path: Path) -> None:
    job, said = desk.painted(), list[Progress]()

    desk.exporter(FolderTarget(tmp_path / "out"), job, shard_images=4).run(said.append)

    assert (said[-1].done, said[-1].total, said[-1].shards, said[-1].of) == (16, 16, 4, 4)


def test_other_jobs_and_strange_folders_are_refused(desk: ExportDesk, tmp_path: Path) -> None:
    job, other = desk.painted(), desk.painted(prompt="c", axes={"seed": [1]})
    desk.export(tmp_path / "out", job)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")

    with pytest.raises(ExportRefused, match=job):
        desk.export(tmp_path / "out", other)
    with pytest.raises(ExportRefused, match="--append"):
        desk.export(tmp_path / "out", job, other)
    with pytest.raises(TargetRefused, match=r"thesis\.txt"):
        desk.export(tmp_path / "mine", job)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(ExportRefused, match="leave --append out"):
        desk.export(tmp_path / "new", job, way=Way(append=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_grows_by_what_is_new_and_its_shards_stay(desk: ExportDesk, tmp_path: Path, layout: str) -> None:
    job = desk.submit(axes={"prompt": ["a", "b"], "seed": {"count": 12}})
    desk.work(job, chunks=2)
    desk.paint(job)
    desk.export(tmp_path / "out", job, format=layout, **SPLIT)
    before = hashes(tmp_path / "out" / "data")
    desk.work(job)
    desk.paint(job, range(8, 24))
    other = desk.painted(prompt="c", axes={"seed": {"count": 4}})

    outcome = desk.export(tmp_path / "out", job, other, format=layout, way=Way(append=True), **SPLIT)
    again = desk.export(tmp_path / "out", job, other, format=layout, way=Way(append=True), **SPLIT)

    after = hashes(tmp_path / "out" / "data")
    assert {name: after[name] for name in before} == before
    rows = table(tmp_path / "out")
    assert sorted((row["job"], row["number"]) for row in rows) == sorted(
        [(job, number) for number in range(24)] + [(other, number) for number in range(4)]
    )
    assert len({row["file_name"] for row in rows}) == 28
    assert (outcome.images, again.images) == (20, 0)


def test_a_split_stays_as_the_job_grows_and_prompts_stay_together(desk: ExportDesk, tmp_path: Path) -> None:
    few = desk.painted(axes={"prompt": ["a", "b", "c"], "seed": {"count": 8}})
    more = desk.painted(axes={"prompt": ["a", "b", "c", "d", "e"], "seed": {"count": 9}})
    shares = "train=0.5,test=0.5"

    for job in (few, more):
        desk.export(tmp_path / f"image-{job}", job, split=shares)
        desk.export(tmp_path / f"prompt-{job}", job, split=shares, split_by="prompt")

    for by in ("image", "prompt"):
        small = {row["recipe_hash"]: row["split"] for row in table(tmp_path / f"{by}-{few}")}
        large = {row["recipe_hash"]: row["split"] for row in table(tmp_path / f"{by}-{more}")}
        assert small.items() <= large.items()
        assert set(large.values()) == {"train", "test"}
    prompts = {(row["prompt"], row["split"]) for row in table(tmp_path / f"prompt-{more}")}
    assert len(prompts) == 5


def test_what_is_not_exported_is_listed_with_why(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(fail=[3])
    desk.change(job, 5, rejected="low_variance")
    desk.change(job, 6, nsfw=True)

    desk.export(tmp_path / "out", job, without=("nsfw",))
    desk.export(tmp_path / "all", job, with_rejected=True)

    listed = {row["number"]: (row["reason"], row["detail"]) for row in rejected(tmp_path / "out")}
    assert listed == {3: ("error", "x"), 5: ("rejected", "low_variance"), 6: ("flag nsfw", None)}
    assert {row["number"] for row in table(tmp_path / "out")} == set(range(16)) - {3, 5, 6}
    assert {row["number"] for row in table(tmp_path / "all")} == set(range(16)) - {3}


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        pytest.param(None, "object is missing", id="missing"),
        pytest.param(lambda data: data[:-1] + b"x", "another checksum", id="other bytes"),
        pytest.param(lambda data: data[:-1], "another size", id="cut off"),
        pytest.param(lambda data: data[:-1] + b"x", "another SHA-256", id="no checksum recorded"),
    ],
)
def test_a_lost_object_stops_the_export_by_name_or_is_left_out_and_made_good_later(
    desk: ExportDesk, tmp_path: Path, harm: Callable[[bytes], bytes] | None, told: str
) -> None:
    job = desk.painted()
    key = desk.images(job)[6].key
    assert key is not None
    good = desk.store.get(key)
    desk.store.delete([key]) if harm is None else desk.store.put(key, harm(good))
    if "SHA-256" in told:
        desk.change(job, 6, xxh3_64=None)

    with pytest.raises(ImageUnreadable) as stopped:
        desk.export(tmp_path / "out", job, shard_images=4)
    left = desk.export(tmp_path / "out", job, shard_images=4, way=Way(skip_broken=True))
    broken = rejected(tmp_path / "out")
    desk.store.put(key, good)
    healed = desk.export(tmp_path / "out", job, shard_images=4, way=Way(append=True))

    assert f"{job}/6" in str(stopped.value)
    assert key in str(stopped.value)
    assert "fsck" in str(stopped.value)
    assert (left.left_out, [row["number"] for row in broken]) == (1, [6])
    assert told in broken[0]["detail"]
    assert (healed.left_out, healed.images) == (0, 1)
    assert sorted(row["number"] for row in table(tmp_path / "out")) == list(range(16))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_made_good_is_in_the_set_once_whatever_is_made_anew(
    desk: ExportDesk, tmp_path: Path, layout: str
) -> None:
    job = desk.painted()
    key = desk.images(job)[6].key
    assert key is not None
    good = desk.store.get(key)
    desk.store.delete([key])
    options = {"format": layout, "shard_images": 8}
    desk.export(tmp_path / "out", job, way=Way(skip_broken=True), **options)
    desk.store.put(key, good)
    desk.export(tmp_path / "out", job, way=Way(append=True), **options)
    before = hashes(tmp_path / "out" / "metadata")

    again = desk.export(tmp_path / "out", job, way=Way(append=True), **options)
    (tmp_path / "out" / "metadata" / "train-000000.parquet").write_bytes(b"")
    remade = desk.export(tmp_path / "out", job, way=Way(append=True, check=True), **options)

    assert (again.images, len(remade.remade)) == (0, 1)
    assert sorted(row["number"] for row in table(tmp_path / "out")) == list(range(16))
    assert hashes(tmp_path / "out" / "metadata") == before


def test_a_job_that_grew_is_not_mixed_in_silently(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted()
    desk.export(tmp_path / "out", job)
    index = json.loads((tmp_path / "out" / INDEX).read_bytes())
    index["jobs"][0]["spec_hash"] = "0" * 64
    (tmp_path / "out" / INDEX).write_text(json.dumps(index))

    with pytest.raises(ExportRefused, match="was extended since"):
        desk.export(tmp_path / "out", job)


def test_retried_images_join_by_append(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(fail=[3])
    desk.export(tmp_path / "out", job)
    desk.change(job, 3, state=ImageState.DONE, reason=None, key=desk.images(job)[2].key)
    desk.paint_one(desk.images(job)[3], desk.store.get(desk.images(job)[2].key or ""))

    outcome = desk.export(tmp_path / "out", job, way=Way(append=True))

    assert outcome.images == 1
    assert engine.BROKEN_TABLE not in outcome.index.rejected
    assert rejected(tmp_path / "out") == []
    assert [row["number"] for row in table(tmp_path / "out")][-1] == 3
