"""What `farm gc` takes and what it never touches, on a folder and on S3; and jobs that are removed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.keeping.collecting.garbage import Collected, Wanted, collect
from dispatcher.keeping.collecting.judging import DatabaseUnaware
from dispatcher.keeping.collecting.usage import measure
from keeping_desk import KeepingDesk
from servers.s3 import S3Bucket
from storage.blobs import open_store
from storage.sql import Database
from storage.sql.keeping import notes
from storage.sql.tables import attempt, chunk, event, image, job, job_plan
from storage.states import JobState, Reuse, Wish
from storage.wire.keys import input_key
from storage.wire.notes import chunk_note_key, dropped_key, job_note_key

ALL_OLD = Wanted(grace_s=-3600)  # as if an hour had passed: S3 has no way to make an object look older


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> KeepingDesk:
    return KeepingDesk(database, tmp_path)


@pytest.fixture(params=["folder", "s3"])
def light_desk(request: pytest.FixtureRequest, tmp_path: Path, use_s3: Callable[[str], S3Bucket]) -> KeepingDesk:
    """Return one on SQLite alone, and on both kinds of store."""
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    if request.param == "folder":
        return KeepingDesk(database, tmp_path)
    bucket = use_s3("ministack")
    store = open_store(f"s3://{bucket.name}/farm", endpoint=bucket.server.endpoint, region=bucket.server.region)
    return KeepingDesk(database, tmp_path, store=store)


def gc(desk: KeepingDesk, wanted: Wanted = ALL_OLD) -> Collected:
    return collect(desk.database, desk.store, wanted=wanted)


def test_only_what_nobody_will_ask_for_goes(light_desk: KeepingDesk) -> None:
    desk = light_desk
    job_id = desk.submit()
    one, two = desk.cut(job_id), desk.cut(job_id)
    assert one is not None
    assert two is not None
    late = desk.render(one, record=False)
    desk.render(one)
    desk.render(two, record=False)  # under way: its chunk is not final
    desk.notes.write()
    before = desk.stored()

    found = gc(desk)

    gone = before - desk.stored()
    assert gone == {key for key in before if key.startswith(late.removesuffix("manifest.json"))}
    assert (found.runs.objects, found.total.objects, found.in_grace.objects) == (5, 5, 0)
    assert found.runs.bytes > 0


def test_a_dry_run_counts_and_deletes_nothing(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    chunk_row = desk.cut(job_id)
    assert chunk_row is not None
    desk.render(chunk_row, record=False)
    desk.render(chunk_row)
    before = desk.stored()

    found = gc(desk, Wanted(grace_s=-3600, dry_run=True))

    assert found.runs.objects == 5
    assert before == desk.stored() - {"gc/clock"}


def test_garbage_has_its_grace(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    chunk_row = desk.cut(job_id)
    assert chunk_row is not None
    late = desk.render(chunk_row, record=False)
    desk.render(chunk_row)
    old = f"{late.removesuffix('manifest.json')}{next(iter(chunk_row.numbers)):09d}.png"
    desk.age(old)

    found = gc(desk, Wanted())

    assert (found.runs.objects, found.in_grace.objects) == (1, 4)
    assert old not in desk.stored()
    assert late in desk.stored()


def test_previews_that_a_row_names_stay_and_others_go(desk: KeepingDesk) -> None:
    kept, dropped = desk.rendered(previews={"every": 1, "keep": True}), desk.submit(previews={"every": 1})
    chunk_row = desk.cut(dropped)
    assert chunk_row is not None
    desk.render(chunk_row)
    lost = f"jobs/{dropped}/{chunk_row.number}.1-x/{next(iter(chunk_row.numbers)):09d}.steps.jpg"
    desk.store.put(lost, b"as if the dispatcher had died before it took the previews away")

    found = gc(desk)

    assert found.runs.objects == 1
    assert len([key for key in desk.stored(f"jobs/{kept}/") if key.endswith(".steps.jpg")]) == 16
    assert lost not in desk.stored()


def test_images_that_were_dropped_go_a_grace_after_the_store_knows(desk: KeepingDesk) -> None:
    job_id = desk.rendered()
    with desk.database.write() as connection:
        connection.execute(image.delete().where(image.c.job == job_id))
        connection.execute(job.update().values(state=JobState.CANCELLED, wish=Wish.DROP, done=0))
    desk.age()

    unknown_to_the_store = gc(desk, Wanted())
    desk.notes.write()
    known_just_now = gc(desk, Wanted())
    desk.age(dropped_key(job_id))
    known_long = gc(desk, Wanted())

    assert [found.runs.objects for found in (unknown_to_the_store, known_just_now, known_long)] == [0, 0, 16]
    assert unknown_to_the_store.in_grace.objects == known_just_now.in_grace.objects == 16
    assert {key.rpartition("/")[2] for key in desk.stored(f"jobs/{job_id}/")} >= {"manifest.json", "dropped.json"}


def test_a_fresh_database_deletes_no_farm(desk: KeepingDesk, tmp_path: Path) -> None:
    desk.rendered()
    before = desk.stored()
    fresh = Database(f"sqlite:///{tmp_path / 'fresh.sqlite'}")
    fresh.prepare()

    with pytest.raises(DatabaseUnaware, match=r"knows no job, .* 'farm rebuild' makes the rows anew"):
        collect(fresh, desk.store, wanted=Wanted(grace_s=-3600, unknown=True))

    assert desk.stored() - {"gc/clock"} == before
    fresh.close()


def test_jobs_that_the_database_lost_stay_and_are_told(desk: KeepingDesk) -> None:
    lost, _ = desk.rendered(), desk.rendered()
    _forget(desk, lost)
    before = desk.stored(f"jobs/{lost}/")

    found = gc(desk)

    assert desk.stored(f"jobs/{lost}/") == before
    assert (found.unknown_jobs, found.unknown.objects, found.total.objects) == ([lost], len(before), 0)


def test_lost_jobs_go_where_somebody_says_so_and_they_are_younger_than_the_database(desk: KeepingDesk) -> None:
    known = desk.rendered()
    old, young = desk.rendered(), desk.rendered()
    linking = desk.submit(reuse=Reuse.SAME_PLAN, axes={"prompt": ["b"], "seed": {"count": 8}})
    desk.work(linking, images=16)
    for job_id in (old, young):
        _forget(desk, job_id)
    desk.age(f"jobs/{old}/")

    found = gc(desk, Wanted(grace_s=-3600, unknown=True))

    linked = {str(row.key) for row in desk.images(linking).values()}
    assert desk.stored(f"jobs/{young}/") == {key for key in linked if key.startswith(f"jobs/{young}/")}
    assert (found.unknown_jobs, len(desk.stored(f"jobs/{known}/")) > 16) == ([old], True)


def test_a_submission_that_broke_off_leaves_nothing(desk: KeepingDesk) -> None:
    desk.rendered()
    spec = next(key for key in desk.stored("jobs/") if "/spec" in key)
    lonely = f"jobs/0000000000/{spec.rpartition('/')[2]}"
    desk.store.put(lonely, desk.store.get(spec))

    found = gc(desk)

    assert (found.jobs.objects, lonely in desk.stored()) == (1, False)


def test_the_manifest_of_a_chunk_that_counts_stays_even_where_it_was_never_written_down(desk: KeepingDesk) -> None:
    job_id = desk.rendered()
    with desk.database.write() as connection:
        connection.execute(chunk.update().values(manifest=None))
    manifests = {key for key in desk.stored(f"jobs/{job_id}/") if key.endswith("manifest.json")}

    gc(desk)

    assert manifests <= desk.stored()


def test_notes_and_specs_stay(desk: KeepingDesk) -> None:
    job_id = desk.rendered()

    gc(desk)

    with desk.database.read() as connection:
        assert notes.unnoted(connection, limit=1) == []
    assert {job_note_key(job_id), chunk_note_key(job_id, 0), chunk_note_key(job_id, 1)} <= desk.stored()


def test_inputs_and_models_go_when_nothing_names_them(light_desk: KeepingDesk) -> None:
    desk = light_desk
    job_id = desk.rendered()
    spec = next(key for key in desk.stored(f"jobs/{job_id}/") if "/spec" in key)
    used, unused, file, other = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
    for key in (input_key(used), input_key(unused), f"models/blobs/{file}", f"models/blobs/{other}"):
        desk.store.put(key, b"x")
    desk.store.put(f"models/{'5' * 64}.json", b"{}")
    text = desk.store.get(spec).replace(b'"inputs":{}', b'"inputs":{"sha256:' + used.encode() + b'":{}}')
    desk.store.put(spec, text)

    found = gc(desk)

    assert desk.stored("inputs/") == {input_key(used)}
    assert desk.stored("models/") == set()
    assert (found.inputs.objects, found.models.objects) == (1, 3)


def test_usage_says_what_is_there_by_job_and_kind(light_desk: KeepingDesk) -> None:
    desk = light_desk
    done, open_id = desk.rendered(previews={"every": 1, "keep": True}), desk.submit()
    chunk_row = desk.cut(open_id)
    assert chunk_row is not None
    desk.render(chunk_row, record=False)
    desk.render(chunk_row)
    desk.store.put(input_key("1" * 64), b"12345")

    usage = measure(desk.database, desk.store)
    one = measure(desk.database, desk.store, job_id=done)

    first, second = usage.jobs[done], usage.jobs[open_id]
    assert (first.images.objects, first.previews.objects, first.manifests.objects) == (16, 16, 5)
    assert (second.images.objects, second.manifests.objects, second.in_grace.objects) == (4, 2, 5)
    assert first.images.bytes == sum(row.bytes or 0 for row in desk.images(done).values())
    assert (usage.inputs.bytes, usage.total.objects) == (5, len(desk.stored()) - 1)  # all but the clock
    assert (list(one.jobs), one.jobs[done].total.bytes) == ([done], first.total.bytes)


def _forget(desk: KeepingDesk, job_id: str) -> None:
    """Lose a job from SQL, as a restored backup would."""
    with desk.database.write() as connection:
        for table in (image, attempt, chunk, event, job_plan):
            connection.execute(table.delete().where(table.c.job == job_id))
        connection.execute(job.delete().where(job.c.id == job_id))
