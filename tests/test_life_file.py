"""The life file: what one process writes and another reads, whatever happens in between."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.wire.messages import Holding
from worker.child import life
from worker.child.cells import Cell
from worker.child.level import Level
from worker.child.life import DEVICE_BROKEN, SIZE, Cause, Life, LifeFile, life_in, life_path, parent_in, read_life

HELD = Holding(job="job1", chunk=3, attempt=2, run="r", phase="running", batch=[[4, 8, 1]])


def written(path: Path) -> Life:
    """The life in a file that has one."""
    found = read_life(path)[0]
    assert found is not None
    return found


def dead(
    path: Path, *, child: str = "first", boot: str = "b1", held: Holding | None = None, cause: Cause | None = None,
    verdict: str = "",
) -> None:  # fmt: skip
    """Let a process that is over leave its life behind."""
    pid = os.fork()
    if pid == 0:
        file = LifeFile(path)
        file.take_over(child, boot=boot)
        file.take_in_hand(held)
        file.set_verdict(verdict)
        if cause is not None:
            file.set_cause(child, cause)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_supervisor_reads_what_the_child_wrote(tmp_path: Path) -> None:
    path = life_path(tmp_path, "host-cpu")
    file = LifeFile(path)

    told = file.take_over("child1", boot="boot1", now=5.0)
    file.set_deadline(17.5)
    file.note_beat(6.25)
    file.take_in_hand(HELD)
    file.note_parent(now=4.0)
    found, parent = read_life(path)

    assert told is None
    assert found is not None
    assert parent is not None
    assert (found.child, found.pid, found.parent, found.boot) == ("child1", os.getpid(), os.getppid(), "boot1")
    assert (found.started, found.deadline, found.beat, found.cause, found.verdict) == (5.0, 17.5, 6.25, None, "")
    assert found.hand is not None
    assert (found.hand.job, found.hand.chunk, found.hand.attempt, found.hand.batch) == ("job1", 3, 2, [[4, 8, 1]])
    assert (parent.pid, parent.since) == (os.getpid(), 4.0)
    assert found.alive


@pytest.mark.parametrize(
    ("boot", "left", "cause"),
    [
        pytest.param("b1", {}, "died", id="the node lives and nobody saw it"),
        pytest.param("b1", {"cause": "hung"}, "hung", id="killed for hanging"),
        pytest.param("b2", {"cause": "died"}, "died", id="another boot of the node, and the supervisor saw it die"),
        pytest.param("b2", {}, None, id="the whole node died"),
    ],
)
def test_the_next_child_tells_how_the_one_before_it_died(
    tmp_path: Path, boot: str, left: dict[str, Cause], cause: Cause | None
) -> None:
    path = tmp_path / "x.life"
    dead(path, held=HELD, cause=left.get("cause"))

    told = LifeFile(path).take_over("second", boot=boot)

    assert (told and (told.cause, told.batch)) == (cause and (cause, [[4, 8, 1]]))


def test_a_child_that_put_down_its_chunk_leaves_nothing_to_tell(tmp_path: Path) -> None:
    path = tmp_path / "x.life"
    dead(path)

    assert LifeFile(path).take_over("second", boot="b1") is None


def test_what_was_not_told_yet_is_left_to_the_next_but_one(tmp_path: Path) -> None:
    path = tmp_path / "x.life"
    dead(path, held=HELD)
    dead(path, child="second")
    third = LifeFile(path)

    told = third.take_over("third", boot="b1")
    third.forget_earlier()
    dead(path, child="fourth")
    forgotten = written(path).earlier

    assert told is not None
    assert told.chunk == 3
    assert forgotten is None


def test_exits_because_of_the_device_are_counted_over_the_children(tmp_path: Path) -> None:
    path = tmp_path / "x.life"
    for number in range(3):
        dead(path, child=f"c{number}", verdict=DEVICE_BROKEN)

    found = written(path)

    assert len(found.broken) == 2
    assert found.verdict == DEVICE_BROKEN
    assert not found.alive


def test_cells_of_an_earlier_child_say_nothing_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.life"
    dead(path, held=HELD, cause="hung", verdict=DEVICE_BROKEN)

    LifeFile(path).take_over("second", boot="b1")
    found = written(path)

    assert (found.hand, found.cause, found.verdict, found.deadline, found.beat) == (None, None, "", 0.0, 0.0)


def test_a_file_of_another_boot_of_the_machine_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.life"
    dead(path, held=HELD, cause="hung")
    LifeFile(path).note_parent()

    monkeypatch.setattr(life, "machine_boot", lambda: "another")

    assert read_life(path) == (None, None)
    assert LifeFile(path).take_over("second", boot="b1") is None


def test_ranges_that_are_too_long_count_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "x.life"
    file = LifeFile(path)
    file.take_over("c", boot="b")

    file.take_in_hand(HELD.model_copy(update={"batch": [[10 * n, 10 * n + 1, 1] for n in range(1000)]}))
    found = written(path)

    assert found.hand is not None
    assert (found.hand.chunk, found.hand.batch) == (3, [])


def test_a_disk_that_takes_no_file_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("no folder")
    level = Level(LifeFile(life_path(tmp_path, "x")))

    level.hold(HELD)
    with level.batch([[0, 4, 1]], kind="k", steps=2):
        level.step(1, 2)
    level.hold(None)

    assert level.life.problem is not None
    assert read_life(life_path(tmp_path, "x")) == (None, None)


def test_only_a_call_of_the_pipeline_and_loading_have_a_deadline(tmp_path: Path) -> None:
    path = tmp_path / "x"
    level = Level(LifeFile(path))
    level.life.take_over("c", boot="b")
    seen = []

    def note() -> None:
        found = written(path)
        seen.append((found.deadline > 0, None if found.hand is None else found.hand.batch))

    level.hold(HELD.model_copy(update={"batch": []}))
    note()
    with level.loading():
        note()
    with level.batch([[0, 4, 1]], kind="k", steps=2):
        note()
        level.step(1, 2)
        with level.waiting():
            note()
        note()
    level.step(2, 2)  # of a call that is over
    note()
    level.hold(None)
    note()

    batch = [[0, 4, 1]]
    assert seen == [
        (False, []), (True, []), (True, batch), (False, batch), (True, batch), (False, []), (False, None),
    ]  # fmt: skip


def test_a_process_that_took_over_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path: Path) -> None:
    LifeFile(tmp_path / "x").take_over("c", boot="b")
    found = written(tmp_path / "x")

    assert life.process_runs(found.pid, began=found.began)
    assert not life.process_runs(found.pid, began=found.began - 1)


@given(data=st.binary(max_size=400) | st.binary(max_size=40).map(lambda part: part * (SIZE // max(1, len(part)) + 1)))
def test_no_bytes_upset_the_reader(data: bytes) -> None:
    assert life_in(data) is None
    assert parent_in(data) is None


@given(said=st.recursive(st.none() | st.integers() | st.text(max_size=8), lambda more: st.lists(more) | st.dictionaries(
    st.sampled_from(["child", "machine", "pid", "began", "parent", "boot", "started", "broken", "earlier"]), more
), max_leaves=12))  # fmt: skip
def test_no_words_upset_the_reader(tmp_path_factory: pytest.TempPathFactory, said: object) -> None:
    path = tmp_path_factory.getbasetemp() / "words.life"
    file = LifeFile(path)
    file.take_over("c", boot="b")
    file.note_parent()
    for cell in (life._CHILD, life._NODE, life._HAND, life._DEADLINE, life._CAUSE):
        with contextlib.suppress(ValueError):  # too long
            file._write(cell, said)

    read_life(path)
    file.close()


@given(
    first=st.integers(), second=st.integers(), torn=st.integers(0, 60), garbage=st.binary(min_size=60, max_size=60),
    earlier=st.integers(0, 5),
)  # fmt: skip
def test_a_write_that_was_cut_short_leaves_the_one_before_it(
    first: int, second: int, torn: int, garbage: bytes, earlier: int
) -> None:
    cell = Cell(0, 128)
    before, after = bytearray(256), bytearray(256)
    for number in range(1, earlier + 2):
        cell.write(before, number, first)  # type: ignore[arg-type]  # a bytearray is written like a map
    after[:] = before
    cell.write(after, earlier + 2, second)  # type: ignore[arg-type]
    slot = (earlier + 2) % 2 * 128
    mixed = bytearray(after)
    mixed[slot + torn : slot + 60] = garbage[: 60 - torn]

    assert cell.read(bytes(mixed))[1] in (first, second)
    assert cell.read(bytes(after)) == (earlier + 2, second)
