"""Images that are lost while a data set is made: named or left out, listed once, and made good when they are back."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from dispatcher.export import engine
from dispatcher.export.engine import Way
from dispatcher.export.loading import ClassUnknown, ImageGone
from dispatcher.export.planning import PlannedShard
from dispatcher.export.targets import Target
from export_desk import ExportDesk, hashes, opened_desk, rejected, table
from storage.errors import StoreAway
from storage.states import ImageState

SKIP = Way(skip_broken=True)
NIGHTLY = Way(append=True, skip_broken=True)
ASIDE = 10**6  # a number that the job does not have


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExportDesk]:
    monkeypatch.setattr("dispatcher.export.card.finishing.finish", lambda target, index, jobs: None)
    with opened_desk(tmp_path) as desk:
        yield desk


def numbers(folder: Path) -> list[int]:
    return sorted(row["number"] for row in table(folder))


def test_an_image_whose_record_is_gone_stops_the_export_by_name_or_is_left_out(
    desk: ExportDesk, tmp_path: Path
) -> None:
    job, out = desk.painted(), tmp_path / "out"
    begin_and_stop(desk, out, job)
    desk.renumber(job, {6: ASIDE})

    with pytest.raises(ImageGone, match=f"image {job}/6: has no record any more"):
        desk.export(out, job, shard_images=4)
    left = desk.export(out, job, shard_images=4, way=SKIP)
    listed = rejected(out)
    desk.renumber(job, {ASIDE: 6})
    healed = desk.export(out, job, shard_images=4, way=Way(append=True))

    assert (left.left_out, sum(shard.rows for shard in left.index.shards.values())) == (1, 15)
    assert [(row["image_id"], row["reason"], row["detail"]) for row in listed] == [
        (f"{job}/6", "broken", "has no record any more")
    ]
    assert (healed.left_out, numbers(out), rejected(out)) == (0, list(range(16)), [])


def test_an_image_that_stays_lost_adds_nothing_to_an_export_that_is_repeated(desk: ExportDesk, tmp_path: Path) -> None:
    job, out = desk.painted(), tmp_path / "out"
    key = desk.images(job)[6].key
    assert key is not None
    good = desk.store.get(key)
    desk.store.delete([key])
    desk.export(out, job, way=SKIP)
    before = hashes(out)

    nights = [desk.export(out, job, way=NIGHTLY) for _ in range(2)]
    after = hashes(out)
    desk.store.put(key, good)
    healed = desk.export(out, job, way=NIGHTLY)

    assert [(night.images, night.left_out, night.index.rounds) for night in nights] == [(0, 1, 1)] * 2
    assert after == before
    assert (healed.images, healed.left_out, numbers(out)) == (1, 0, list(range(16)))


def test_an_image_that_was_lost_and_failed_since_is_listed_once(desk: ExportDesk, tmp_path: Path) -> None:
    job, out = desk.painted(), tmp_path / "out"
    key = desk.images(job)[6].key
    assert key is not None
    desk.store.delete([key])
    desk.export(out, job, way=SKIP)
    desk.change(job, 6, state=ImageState.FAILED, reason="lost_object", key=None)

    outcome = desk.export(out, job, way=NIGHTLY)

    assert outcome.left_out == 0
    assert [(row["number"], row["reason"]) for row in rejected(out)] == [(6, "lost_object")]
    assert numbers(out) == [number for number in range(16) if number != 6]


def test_an_image_that_comes_with_a_new_class_while_an_export_begins_is_in_it(
    desk: ExportDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, out, freeze = desk.painted(), tmp_path / "out", engine.freeze_plan

    def late(target: Target, place: int, shards: Iterable[PlannedShard]) -> int:
        desk.change(job, 5, scheduler="late")
        return freeze(target, place, shards)

    monkeypatch.setattr(engine, "freeze_plan", late)
    outcome = desk.export(out, job, cls="scheduler")

    assert "late" in outcome.index.classes
    assert numbers(out) == list(range(16))


def test_a_class_that_an_export_did_not_begin_with_is_named(desk: ExportDesk, tmp_path: Path) -> None:
    job, out = desk.painted(), tmp_path / "out"
    begin_and_stop(desk, out, job, cls="scheduler")
    desk.change(job, 5, scheduler="late")

    with pytest.raises(ClassUnknown, match=f"image {job}/5: scheduler = 'late' is none of the classes"):
        desk.export(out, job, shard_images=4, cls="scheduler")


def begin_and_stop(desk: ExportDesk, out: Path, job: str, **options: str) -> None:
    """An export that has its first shard."""
    get = desk.store.get

    def away(key: str) -> bytes:
        if "00000000" in key and not key.endswith(("0.png", "1.png", "2.png", "3.png")):
            raise StoreAway("a test", "no answer")
        return get(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.store, "get", away)
        with pytest.raises(StoreAway):
            desk.export(out, job, shard_images=4, way=Way(workers=1), **options)
    assert numbers(out) == [0, 1, 2, 3]
