"""What a worker does about its own faults: hung steps, dead children, a broken device, a second one of its name."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from storage.wire import keys
from storage.wire.messages import Ended, Heartbeat
from worker.child.life import Life, life_path, read_life
from worker_desk import ONE_BY_ONE, Desk, descendants, fake_model, slow_job, start_slow_chunk, wait_for, worker

NODE = "test-cpu"
QUICK = {"FARM_TIME_SCALE": "0.05"}  # a step may take 0.75 s


@pytest.fixture
def desk(broker_url: str, tmp_path: Path) -> Iterator[Desk]:
    with Desk(broker_url, tmp_path) as desk:
        yield desk


def life_of(desk: Desk) -> Life:
    """The life file of the node's child."""
    found = read_life(life_path(desk.home / "home", NODE))[0]
    assert found is not None
    return found


def in_the_pipeline(desk: Desk, number: signal.Signals) -> tuple[Life, list[list[int]]]:
    """Send the child a signal in the midst of a batch; say what was in its pipeline then."""

    def strike() -> tuple[Life, list[list[int]]] | None:
        life = life_of(desk)
        os.kill(life.pid, signal.SIGSTOP)
        wait_for(lambda: _state(life.pid) == "T", what="stopped")
        hand = life_of(desk).hand
        if hand is not None and hand.batch:
            os.kill(life.pid, number)
            return life, hand.batch
        os.kill(life.pid, signal.SIGCONT)  # between two batches
        return None

    return wait_for(strike, what="a batch in the pipeline")


def beat_with(desk: Desk, fits: Callable[[Heartbeat], bool]) -> Heartbeat:
    """A beat of the node, waited for."""

    def look() -> Heartbeat | None:
        beat = desk.beat(NODE)
        return beat if fits(beat) else None

    return wait_for(look, what="such a beat", limit_s=30)


def told(desk: Desk) -> Heartbeat:
    """The first beat of a new child that tells of the one before it."""
    return beat_with(desk, lambda beat: beat.ended is not None and beat.beat > 0)


def renders(desk: Desk, *, chunk: int) -> bool:
    """Whether the worker makes a chunk of four images."""
    models = desk.manifest(chunk=0).models
    desk.send(desk.message(range(100, 104), chunk=chunk, models=models, plan=ONE_BY_ONE), node=NODE)
    return len(desk.manifest(chunk=chunk).images) == 4


def test_a_hung_step_is_killed_and_the_next_child_says_which_images_were_in_the_pipeline(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk, **QUICK):
        start_slow_chunk(desk, NODE)
        before = desk.beat(NODE)
        hung, batch = in_the_pipeline(desk, signal.SIGSTOP)
        beat = told(desk)
        again = renders(desk, chunk=2)

    assert beat.ended == Ended(job=desk.job, chunk=1, attempt=1, batch=batch, cause="hung")
    assert (beat.boot, beat.child != hung.child) == (before.boot, True)
    assert again
    assert "child hangs, killing it" in (desk.home / "test.log").read_text()


def test_a_killed_child_is_told_of_at_once_and_by_every_beat_of_the_next(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk, **QUICK):
        start_slow_chunk(desk, NODE)
        killed, batch = in_the_pipeline(desk, signal.SIGKILL)
        first = beat_with(desk, lambda beat: beat.ended is not None)
        beat = told(desk)
        again = renders(desk, chunk=2)
        wait_for(lambda: desk.beat(NODE).ended is None, what="the end of it")
        earlier = life_of(desk).earlier

    assert len(range(*batch[0])) == 1
    assert first.holding is None
    assert first.child != killed.child
    assert first.ended == beat.ended == Ended(job=desk.job, chunk=1, attempt=1, batch=batch, cause="died")
    assert again
    assert earlier is None


def test_a_heartbeat_names_the_images_in_the_pipeline(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk):
        start_slow_chunk(desk, NODE)
        held = beat_with(desk, lambda beat: beat.holding is not None and beat.holding.batch != []).holding

    assert held is not None
    assert len(range(*held.batch[0])) == 1
    assert held.batch[0][0] >= held.images - 1


def test_a_node_without_a_tracker_has_no_child_any_more_and_is_started_anew(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk, **QUICK) as process:
        start_slow_chunk(desk, NODE)
        before = desk.beat(NODE)
        trackers = [pid for pid in descendants(process.pid) if "_tracker" in command(pid)]
        for pid in [*trackers, life_of(desk).pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        after = beat_with(desk, lambda beat: beat.boot != before.boot)
        ended = told(desk).ended
        again = renders(desk, chunk=2)

    assert trackers
    assert again
    assert after.node == before.node
    assert ended is not None
    assert (ended.chunk, ended.cause) == (1, "died")


def test_a_killed_node_is_no_fault_of_its_images(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk, **QUICK):
        start_slow_chunk(desk, NODE)
        before = desk.beat(NODE)
        os.killpg(life_of(desk).parent, signal.SIGKILL)
        after = beat_with(desk, lambda beat: beat.boot != before.boot and beat.beat > 1)

    assert after.ended is None


def test_a_stopped_worker_leaves_nothing_to_tell(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk) as process:
        start_slow_chunk(desk, NODE)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        left = life_of(desk)
    with worker(desk):
        beat = desk.beat(NODE, other_than=left.child)

    assert left.hand is None
    assert beat.ended is None


def test_a_device_that_breaks_three_times_is_left_alone_until_the_next_start(desk: Desk) -> None:
    fake_model(desk.home, device_error_seeds=[0, 1, 2])
    desk.freeze(model="model", prompt="a fox", steps=2, axes={"seed": {"count": 1000}})

    with worker(desk, **QUICK) as process:
        models = desk.resolve(NODE)
        for chunk in (1, 2, 3):
            child = desk.beat(NODE).child
            numbers = range(chunk - 1, chunk)
            desk.send(desk.message(numbers, chunk=chunk, models=models, plan=ONE_BY_ONE), node=NODE)
            desk.manifest(chunk=chunk)
            if chunk < 3:
                desk.beat(NODE, other_than=child)
        raw = wait_for(lambda: desk.redis.get(keys.quarantine_key(NODE)), what="quarantine")
        wait_for(lambda: not descendants(process.pid), what="the node's end")
        beat = desk.redis.get(keys.worker_key(NODE))
        desk.redis.flushdb()
        wait_for(lambda: desk.redis.get(keys.quarantine_key(NODE)), what="the same once more")
        up = process.poll() is None
    with worker(desk):
        desk.beat(NODE)
        wait_for(lambda: desk.redis.get(keys.quarantine_key(NODE)) is None, what="the end of the quarantine")

    assert isinstance(raw, bytes)
    assert "device broke 3 times" in json.loads(raw)["reason"]
    assert json.loads(raw)["since"] > 1e9
    assert beat is None
    assert up
    assert "node quarantined" in (desk.home / "test.log").read_text()


def test_an_order_to_give_the_device_back_ends_every_chunk_at_the_next_step(desk: Desk) -> None:
    slow_job(desk)

    with worker(desk):
        start_slow_chunk(desk, NODE)
        models = desk.manifest(chunk=0).models
        desk.order(NODE, stop=True)
        partial = desk.manifest(limit_s=10)
        desk.send(desk.message(range(100, 110), chunk=2, models=models), node=NODE)
        nothing = desk.manifest(chunk=2)
        desk.order(NODE)
        beat = desk.beat(NODE).beat
        beat_with(desk, lambda later: later.beat > beat + 1)  # it has read them
        again = renders(desk, chunk=3)

    made = [image.number for image in partial.images]
    assert made == list(range(len(made)))
    assert partial.untried == [[len(made), 100, 1]]
    assert (nothing.images, nothing.untried) == ([], [[100, 110, 1]])
    assert again


def test_two_of_one_name_that_a_forgetful_broker_let_start_do_not_stay(desk: Desk) -> None:
    with worker(desk) as process:
        first = desk.beat(NODE)
        frozen = [process.pid, *descendants(process.pid)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        desk.redis.flushdb()
        with worker(desk) as twin:
            second = desk.beat(NODE)
            for pid in frozen:
                with suppress(ProcessLookupError):  # the first to thaw may end others
                    os.kill(pid, signal.SIGCONT)
            loser = wait_for(lambda: next((one for one in (process, twin) if one.poll() is not None), None), what="one")
            winner = twin if loser is process else process
            stays = wait_for(lambda: desk.beat(NODE), what="a beat")
            with pytest.raises(subprocess.TimeoutExpired):
                winner.wait(timeout=1)

    assert loser.returncode == 1
    assert first.boot != second.boot
    assert stays.boot == min(first.boot, second.boot)


def command(pid: int) -> str:
    """How a process was called; "" for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
