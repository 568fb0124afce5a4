"""What the dispatcher tells the store: after the commit, again after a crash, and never before it is true."""

import json
from pathlib import Path

import pytest

from dispatcher.service.recording.noting import Notes
from keeping_desk import KeepingDesk, failed
from storage.errors import StoreAway
from storage.sql import Database, chunks, endings, jobs
from storage.sql.keeping import notes
from storage.sql.leading import NotLeading
from storage.states import ImageState, JobState, Reuse, Wish
from storage.wire.notes import ChunkNote, JobNote, chunk_note_key, dropped_key, job_note_key


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> KeepingDesk:
    return KeepingDesk(database, tmp_path)


def job_note(desk: KeepingDesk, job_id: str) -> JobNote:
    return JobNote.model_validate_json(desk.store.get(job_note_key(job_id)))


def chunk_note(desk: KeepingDesk, job_id: str, number: int) -> ChunkNote:
    return ChunkNote.model_validate_json(desk.store.get(chunk_note_key(job_id, number)))


def unnoted(desk: KeepingDesk) -> int:
    with desk.database.read() as connection:
        return len(notes.unnoted(connection, limit=1000))


def test_a_recorded_chunk_is_noted_with_the_manifest_that_counts(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    chunk = desk.cut(job_id)
    assert chunk is not None
    first = next(iter(chunk.numbers))
    key = desk.render(chunk, failed=[failed(first)])
    desk.render(chunk, record=False)  # another run of it, which came too late

    assert desk.notes.write() == 2  # the chunk that resolved the models, and this one

    note = chunk_note(desk, job_id, chunk.number)
    assert (note.kind, note.state, note.attempt, note.manifest, note.plan) == ("render", "done", 1, key, chunk.plan)
    assert note.made == [[first + 1, first + 4, 1]]
    assert [(row.number, row.state, row.reason, row.key) for row in note.rows] == [
        (first, ImageState.FAILED, "error", None)
    ]
    assert desk.notes.write() == unnoted(desk) == 0


def test_links_are_noted_whole(desk: KeepingDesk) -> None:
    first = desk.rendered()
    second = desk.submit(reuse=Reuse.SAME_PLAN)
    desk.work(second, images=16)

    desk.notes.write()

    origin = desk.images(first)[5]
    note = chunk_note(desk, second, 1)
    row = next(row for row in note.rows if row.number == 5)
    assert (note.kind, note.manifest, note.made, len(note.rows)) == ("link", None, [], 16)
    assert (row.linked_job, row.linked_number, row.key) == (first, 5, origin.key)
    assert (row.sha256, row.bytes, row.run) == (origin.sha256, origin.bytes, "link")
    assert note.plans[row.plan].model_dump() == origin.plan
    assert note.environments[row.environment] == origin.environment


def test_a_chunk_under_way_is_not_noted(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    chunk = desk.cut(job_id)
    assert chunk is not None

    desk.notes.write()

    assert chunk_note_key(job_id, chunk.number) not in desk.stored()


def test_while_the_store_is_away_nothing_is_marked(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    desk.work(job_id, chunks=1)
    hidden = desk.folder / "hidden"
    (desk.folder / "store" / ".tmp").rename(hidden)

    with pytest.raises(StoreAway):
        desk.notes.write()

    assert unnoted(desk) == 2
    hidden.rename(desk.folder / "store" / ".tmp")
    assert desk.notes.write() == 2


def test_who_does_not_lead_marks_nothing(desk: KeepingDesk) -> None:
    desk.submit()

    def fence(connection: object) -> None:
        raise NotLeading(1)

    with pytest.raises(NotLeading):
        Notes(desk.database, desk.store, fence=fence).write()

    assert unnoted(desk) == 1


def test_a_crash_before_the_mark_writes_the_same_note_again(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    desk.work(job_id, chunks=1)
    desk.notes.write()
    before = {key: desk.store.get(key) for key in desk.stored(f"jobs/{job_id}/notes/")}
    with desk.database.write() as connection:
        notes.mark_noted(connection, [(job_id, 0), (job_id, 1)], noted=False)

    assert desk.notes.write() == 2

    assert {key: desk.store.get(key) for key in desk.stored(f"jobs/{job_id}/notes/")} == before


def test_a_chunk_whose_failed_image_is_retried_just_then_is_noted_once_more(
    desk: KeepingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = desk.submit()
    chunk = desk.cut(job_id)
    assert chunk is not None
    desk.render(chunk, failed=[failed(next(iter(chunk.numbers)))])
    put = desk.store.put

    def retried_meanwhile(key: str, data: bytes, **kind: str) -> None:
        put(key, data, **kind)
        if key == chunk_note_key(job_id, chunk.number):
            monkeypatch.undo()
            with desk.database.write() as connection:
                endings.forget_failed(connection, job_id, endings.failed(connection, job_id, None))

    monkeypatch.setattr(desk.store, "put", retried_meanwhile)

    desk.notes.write(limit=2)

    assert chunk_note(desk, job_id, chunk.number).rows != []
    assert unnoted(desk) == 1
    desk.notes.write()
    assert chunk_note(desk, job_id, chunk.number).rows == []


def test_a_round_notes_so_many_chunks_and_the_next_one_the_rest(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    desk.work(job_id)

    written = [desk.notes.write(limit=2), desk.notes.write(limit=2), desk.notes.write(limit=2)]

    assert written == [2, 2, 1]


def test_a_job_is_told_when_it_begins_resolves_and_ends(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    desk.notes.write()
    at_first = job_note(desk, job_id)
    desk.work(job_id)
    desk.notes.write()

    last, row = job_note(desk, job_id), desk.job(job_id)
    assert (at_first.state, at_first.plans, list(at_first.models or {})) == (None, [], list(row.models or {}))
    assert (last.state, last.spec_hash, last.finished_at) == (JobState.DONE, row.spec_hash, row.finished_at)
    assert [(size.width, size.height) for size in last.plans] == [(64, 64)]


def test_what_did_not_change_is_not_written_again(desk: KeepingDesk) -> None:
    open_id, done_id = desk.submit(), desk.rendered()
    for job_id in (open_id, done_id):
        desk.store.delete([job_note_key(job_id)])

    desk.notes.write()

    assert not {job_note_key(open_id), job_note_key(done_id)} & desk.stored()


def test_a_new_dispatcher_tells_open_jobs_and_those_that_ended_lately_once_more(desk: KeepingDesk) -> None:
    open_id, done_id, old_id = desk.submit(), desk.rendered(), desk.rendered()
    with desk.database.write() as connection:
        jobs.change(connection, old_id, finished_at=1.0)
    ours = {job_note_key(job_id) for job_id in (open_id, done_id, old_id)}
    desk.store.delete(ours)

    Notes(desk.database, desk.store, fence=desk.lead.fence).write()

    assert ours & desk.stored() == {job_note_key(open_id), job_note_key(done_id)}


def test_dropped_images_are_told_even_long_after_the_job_ended(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    with desk.database.write() as connection:
        jobs.enter(connection, job_id, JobState.CANCELLED, finished_at=1.0)
    desk.notes.write()
    desk.rendered()
    assert dropped_key(job_id) not in desk.stored()
    with desk.database.write() as connection:
        jobs.wish(connection, job_id, Wish.DROP)

    desk.notes.write()

    assert json.loads(desk.store.get(dropped_key(job_id)))["job"] == job_id


def test_a_chunk_that_was_dropped_is_noted_with_its_numbers(desk: KeepingDesk) -> None:
    job_id = desk.submit()
    chunk = desk.cut(job_id)
    assert chunk is not None
    with desk.database.write() as connection:
        chunks.drop(connection, chunk, why="cancelled", now=1.0)

    desk.notes.write()

    note = chunk_note(desk, job_id, chunk.number)
    assert (note.state, note.ranges, note.made, note.rows) == ("dropped", chunk.numbers.to_json(), [], [])
