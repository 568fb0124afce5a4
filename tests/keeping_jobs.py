"""Jobs in every state that a farm leaves them in."""

from dispatcher.keeping.collecting.removal import remove
from keeping_desk import KeepingDesk, failed
from storage.sql import endings, jobs
from storage.states import JobState, Reuse, Wish


def with_all_that_happens(desk: KeepingDesk) -> dict[str, str]:
    """Jobs in every state that a farm leaves them in."""
    done = desk.submit(previews={"every": 1, "keep": True})
    first = desk.cut(done)
    assert first is not None
    desk.render(first, failed=[failed(next(iter(first.numbers)))])
    desk.work(done)
    gone = desk.rendered()
    linking = desk.submit(reuse=Reuse.SAME_PLAN, axes={"prompt": ["b", "c"], "seed": {"count": 8}})
    desk.work(linking, images=16)
    lost = desk.submit()
    chunk = desk.cut(lost)
    assert chunk is not None
    desk.recorder.give_up(chunk, reason="lost", detail="chunk 1 was lost 3 times")
    desk.work(lost)
    dropped = desk.rendered(axes={"prompt": ["d"]})
    cancelled = desk.submit()
    desk.work(cancelled, chunks=1)
    broken = desk.submit()
    desk.work(broken, chunks=1)
    with desk.database.write() as connection:
        jobs.wish(connection, cancelled, Wish.CANCEL)
        jobs.enter(connection, cancelled, JobState.CANCELLED, finished_at=5.0)
        jobs.enter(connection, broken, JobState.FAILED, reason="no weights", finished_at=6.0)
    _drop(desk, dropped)
    desk.notes.write()
    remove(desk.database, desk.store, desk.job(gone))
    return {"done": done, "linking": linking, "lost": lost, "dropped": dropped, "cancelled": cancelled,
            "broken": broken, "gone": gone}  # fmt: skip


def _drop(desk: KeepingDesk, job_id: str) -> None:
    """What the dispatcher does where a user wants a job and its images forgotten."""
    with desk.database.write() as connection:
        jobs.change(connection, job_id, state=JobState.CANCELLED, wish=Wish.DROP, done=0, failed=0, linked=0)
        endings.forget_some(connection, job_id, limit=1000)
