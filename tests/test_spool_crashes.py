"""Whatever moment a process dies, what lies in its spool can be sent, or is thrown away."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moody_store import ALWAYS, MoodyStore
from spool_life import RUN, Life, check_store, dying_at, sent, whole_in_spool

runs_of_a_life = st.dictionaries(
    st.sampled_from(["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"]), st.integers(0, 3), min_size=1
)


@given(runs=runs_of_a_life, direct=st.integers(0, 2), kills=st.lists(st.integers(0, 60), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_processes_are_killed_whole_runs_reach_the_store_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    runs: dict[str, int],
    direct: int,
    kills: list[int],
) -> None:
    folder = tmp_path_factory.mktemp("life")
    store = MoodyStore(folder / "store")
    promised: set[str] = set()

    for place, kill in enumerate(kills):
        first = Life(folder, store)
        with dying_at(kill, monkeypatch):
            if place == 0:
                first.live(runs, direct=direct)
            else:
                first.spool.resume()
                first.send_all()
        first.disk.close()
        check_store(store)
        promised |= whole_in_spool(folder)

    last = Life(folder, store)
    last.spool.resume()
    last.send_all()
    check_store(store)
    assert set(sent(store)) >= promised
    assert set(sent(store)) <= set(runs)
    assert [entry.name for entry in (folder / "spool").iterdir()] == [".lock"]
    assert (last.disk.held, last.level.spooled) == (0, ())
    last.disk.close()


def test_a_life_without_a_kill_sends_all_and_every_change_of_a_file_reaches_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MoodyStore(tmp_path / "store")
    life = Life(tmp_path, store)

    with dying_at(10**9, monkeypatch) as done:
        life.live({RUN: 2}, direct=0)

    check_store(store)
    assert set(sent(store)) == {RUN}
    names = [name for name in done if name in ("fsync", "rename")]
    first = names.index("rename")
    assert "fsync" in names[:first]  # the file
    assert names[first + 1] == "fsync"  # the folder


@pytest.mark.parametrize("kill", range(8))
def test_a_run_that_is_half_thrown_away_is_never_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: int
) -> None:
    store = MoodyStore(tmp_path / "store")
    store.away = ALWAYS
    life = Life(tmp_path, store)
    life.live({RUN: 2}, direct=0)
    (tmp_path / "spool" / RUN / "000000000.png").write_bytes(b"other")
    store.away = 0
    with dying_at(kill, monkeypatch):
        life.send_all()
    life.disk.close()

    again = Life(tmp_path, store)
    again.spool.resume()
    again.send_all()

    assert sent(store) == {}
    assert [entry.name for entry in (tmp_path / "spool").iterdir()] == [".lock"]
