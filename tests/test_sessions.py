"""Who is alive, on a clock that the test moves: each reason for a loss, and that deafness is nobody's silence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.planning.sessions import STORED_GRACE_S, Blame
from hearing import ATTEMPT, BATCH, FOUR_TO_SEVEN, IDLE_S, OTHER, SILENCE_S, Farm, beat, ended
from storage.wire.messages import AttemptName


@pytest.fixture
def farm() -> Farm:
    return Farm()


def test_what_a_worker_holds_is_not_lost_however_long_it_takes(farm: Farm) -> None:
    for _ in range(200):
        farm.hear(ATTEMPT, after=SILENCE_S)
        assert farm.lost() is None


def test_another_boot_loses_what_the_first_one_had_at_once(farm: Farm) -> None:
    farm.hear(ATTEMPT)
    farm.hear(boot="another")

    assert farm.lost() == "worker restarted"
    assert farm.lost(OTHER, boot="another") is None


def test_silence_is_a_loss_after_its_time(farm: Farm) -> None:
    farm.hear(ATTEMPT)
    farm.hear_nobody(after=SILENCE_S)
    assert farm.lost() is None

    farm.hear_nobody(after=0.1)

    assert farm.lost() == "worker silent"


def test_a_heartbeat_that_stands_still_is_silence(farm: Farm) -> None:
    farm.hear(ATTEMPT)

    for _ in range(4):
        farm.now += 10
        farm.sessions.hear([beat(farm.count, ATTEMPT)], now=farm.now)

    assert farm.lost() == "worker silent"
    assert farm.sessions.live(now=farm.now) == []


def test_a_worker_that_was_never_heard_has_its_time_too(farm: Farm) -> None:
    farm.hear_nobody(after=0)
    assert farm.lost() is None

    farm.hear_nobody(after=SILENCE_S + 1)

    assert farm.lost() == "worker silent"


def test_a_new_child_lost_what_the_old_one_held(farm: Farm) -> None:
    farm.hear(ATTEMPT)
    farm.hear(child="new")

    assert farm.lost() == "worker's process died"


def test_a_chunk_let_go_without_a_manifest_has_a_moments_grace(farm: Farm) -> None:
    farm.hear(ATTEMPT)
    farm.hear(after=STORED_GRACE_S)
    assert farm.lost() is None

    farm.hear(after=0.1)

    assert farm.lost() == "ended without a manifest"


def test_an_idle_worker_beside_a_waiting_chunk_never_got_the_message(farm: Farm) -> None:
    farm.hear(after=100)
    assert farm.lost() is None  # from now on it is waited for

    farm.hear(after=IDLE_S)
    early = farm.lost()
    farm.hear(after=0.1)

    assert early is None
    assert farm.lost() == "message lost"


def test_a_chunk_that_waits_behind_another_one_is_not_lost(farm: Farm) -> None:
    for _ in range(50):
        farm.hear(OTHER, after=IDLE_S)
        assert farm.lost() is None

    farm.hear(after=1)  # done with the other; the message has its time from here

    assert farm.lost() is None


def test_a_broker_that_forgot_has_lost_only_what_nobody_holds(farm: Farm) -> None:
    farm.hear(ATTEMPT)

    assert farm.lost(OTHER, forgot=True) == "broker lost its memory"
    assert farm.lost(ATTEMPT, forgot=True) is None


@given(gap_s=st.floats(0, 1e6), holding=st.booleans())
def test_what_was_silent_while_we_were_deaf_gets_a_fresh_lease(gap_s: float, holding: bool) -> None:
    farm = Farm()
    farm.hear(ATTEMPT if holding else None)
    farm.lost()

    farm.sessions.deaf()
    farm.now += gap_s
    deaf = farm.lost()
    farm.hear_nobody(after=0)
    at_once = farm.lost()
    farm.hear_nobody(after=SILENCE_S + 0.1)

    assert (deaf, at_once) == (None, None)
    assert farm.lost() in ("worker silent", "message lost")


def test_a_worker_that_is_gone_is_forgotten_once(farm: Farm) -> None:
    farm.hear(ATTEMPT)
    farm.hear_nobody(after=4 * SILENCE_S + 1)

    assert farm.sessions.gone(now=farm.now) == ["n"]
    assert farm.sessions.gone(now=farm.now) == []


@given(st.lists(st.tuples(st.sampled_from(["beat", "hold", "deaf", "wait"]), st.floats(0, 40)), max_size=30))
def test_a_worker_that_keeps_beating_with_its_chunk_never_loses_it(events: list[tuple[str, float]]) -> None:
    farm = Farm()
    farm.hear(ATTEMPT)

    for event, seconds in events:
        if event == "deaf":
            farm.sessions.deaf()
            farm.now += 100 * seconds
        farm.hear(ATTEMPT, after=min(seconds, SILENCE_S) if event != "deaf" else 0)
        assert farm.lost() is None
        assert [heard.node for heard in farm.sessions.live(now=farm.now)] == ["n"]


def test_a_worker_that_takes_its_heartbeat_away_has_left(farm: Farm) -> None:
    farm.hear(ATTEMPT)

    farm.hear_nobody(after=1, complete=True)

    assert farm.lost() == "worker left"
    assert farm.sessions.live(now=farm.now) == []


def test_a_worker_that_left_and_speaks_again_is_there(farm: Farm) -> None:
    farm.hear(ATTEMPT)
    farm.hear_nobody(after=1, complete=True)

    farm.hear(ATTEMPT)

    assert farm.lost() is None
    assert len(farm.sessions.live(now=farm.now)) == 1


def test_a_key_that_ran_out_while_we_were_deaf_is_no_farewell(farm: Farm) -> None:
    farm.hear(ATTEMPT)
    farm.sessions.deaf()
    farm.now += 300

    farm.hear_nobody(after=0, complete=True)
    at_once = farm.lost()
    farm.hear_nobody(after=SILENCE_S + 0.1, complete=True)

    assert (at_once, farm.lost()) == (None, "worker silent")


@pytest.mark.parametrize("boot", ["b", "after a restart"])
def test_what_a_live_worker_has_on_its_disk_is_not_lost(farm: Farm, boot: str) -> None:
    job, chunk, attempt = ATTEMPT
    farm.hear(ATTEMPT)

    farm.hear(boot=boot, child="new", spooled=[AttemptName(job=job, chunk=chunk, attempt=attempt)])
    named = farm.lost()
    farm.hear_nobody(after=SILENCE_S + 1)

    assert named is None
    assert farm.lost() is not None  # its worker is gone, and with it the disk


def test_a_child_that_died_before_it_was_heard_is_noticed_by_what_the_next_one_found(farm: Farm) -> None:
    farm.hear()
    assert farm.lost() is None

    farm.hear(child="new", ended=ended(BATCH))

    assert farm.lost() == "worker's process died"
    assert farm.blame() == Blame("died", FOUR_TO_SEVEN)


BLAMES = [
    pytest.param({"batch": BATCH}, {}, Blame("died", FOUR_TO_SEVEN), id="the last heartbeat names a batch"),
    pytest.param({}, {}, Blame("died", None), id="nobody knows"),
    pytest.param({"phase": "loading"}, {"ended": ended([])}, Blame("died", None), id="while it was loading"),
    pytest.param({"phase": "uploading"}, {}, None, id="all was drawn"),
    pytest.param({"batch": [[0, 1, 1]]}, {"ended": ended(BATCH)}, Blame("died", FOUR_TO_SEVEN), id="found"),
    pytest.param({"batch": BATCH}, {"ended": ended(BATCH, cause="hung")}, Blame("hung", FOUR_TO_SEVEN), id="hung"),
    pytest.param({}, {"ended": ended([[1, 2, 0]])}, Blame("died", None), id="a batch that is no range"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "blame"), BLAMES)
def test_a_process_that_died_is_laid_on_what_was_in_its_pipeline(
    farm: Farm, before: dict[str, Any], after: dict[str, Any], blame: Blame | None
) -> None:
    farm.hear(ATTEMPT, **before)

    farm.hear(child="new", **after)

    assert farm.blame() == blame


def test_a_restarted_worker_is_nobodys_fault_unless_its_life_file_says_so(farm: Farm) -> None:
    farm.hear(ATTEMPT, batch=BATCH)
    farm.hear(boot="next", child="new")
    innocent = farm.blame()

    farm.hear(boot="next", child="new", ended=ended(BATCH, cause="hung"))

    assert innocent is None
    assert farm.blame() == Blame("hung", FOUR_TO_SEVEN)


@pytest.mark.parametrize("how", ["silent", "left", "forgot", "idle"])
def test_what_the_farm_loses_is_nobodys_fault(farm: Farm, how: str) -> None:
    farm.hear(ATTEMPT if how in ("silent", "left") else None, batch=BATCH)
    farm.lost()
    if how == "idle":
        farm.hear(after=IDLE_S + 1)
    elif how in ("silent", "left"):
        farm.hear_nobody(after=SILENCE_S + 1 if how == "silent" else 1, complete=how == "left")

    loss = farm.sessions.lost(ATTEMPT, node="n", boot="b", now=farm.now, forgot=how == "forgot")

    assert loss is not None
    assert farm.sessions.blame(ATTEMPT, node="n", loss=loss) is None
