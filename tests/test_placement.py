"""Placement is a pure function: nobody idles beside work, nobody is overfull, whose turn it is before warmth."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.planning.placing.placement import SEAT_CHUNKS, Load, Seat, Want, choose, explain, fits_nowhere, why_not
from dispatcher.planning.placing.reasons import Reason
from dispatcher.planning.placing.turns import Turn

CHUNK_S = 60.0
_models = st.sampled_from(["red", "blue"])
_devices = st.sampled_from(["cpu", "cuda"])
_loads = st.builds(Load, st.just("other"), st.integers(0, 9), st.integers(0, 2))
_turns = st.builds(
    Turn, rank=st.integers(0, 2), user_in_flight=st.integers(0, 3), user_since=st.sampled_from([0.0, 5.0]),
    in_flight=st.integers(0, 3), age=st.integers(0, 3),
)  # fmt: skip


@st.composite
def some_seats(draw: st.DrawFn) -> list[Seat]:
    nodes = draw(st.lists(st.sampled_from("abcde"), max_size=5, unique=True))
    return [
        Seat(
            node=node, boot="b", device_type=draw(_devices), device_key=draw(st.sampled_from(["big", "small"])),
            resident=draw(st.frozensets(_models)), running=draw(st.none() | _loads),
            waiting=tuple(draw(st.lists(_loads, max_size=2))), wish=draw(st.sampled_from([None, None, None, "drain"])),
            rests=draw(st.dictionaries(_models, st.just("12:00"), max_size=1)),
        )
        for node in nodes
    ]  # fmt: skip


@st.composite
def some_wants(draw: st.DrawFn) -> list[Want]:
    one = st.builds(
        Want, job=st.sampled_from("xyz"), name=st.just("x"), user=st.sampled_from("uv"), turn=_turns,
        chunk=st.none() | st.integers(0, 9), model=st.none() | _models, device_type=st.none() | _devices,
        too_large=st.dictionaries(st.sampled_from(["big", "small"]), st.just("batch 1"), max_size=2),
        awaits=st.none() | st.integers(0, 9),
        avoid=st.frozensets(st.sampled_from("abc"), max_size=2), lost_on=st.frozensets(st.sampled_from("abc")),
    )  # fmt: skip
    return draw(st.lists(one, max_size=6))


def seat(node: str = "a", **changes: Any) -> Seat:
    return Seat(**{"node": node, "boot": "b", "device_type": "cpu", "device_key": "cpu", **changes})


def want(job: str = "x", **changes: Any) -> Want:
    turn = Turn(rank=1, user_in_flight=0, user_since=0.0, in_flight=0, age=0)
    turn = replace(turn, **{name: changes.pop(name) for name in Turn.__slots__ if name in changes})
    plain = {"name": job, "user": "u", "chunk": None, "model": "red", "device_type": None}
    return Want(**{"job": job, "turn": turn, **plain, **changes})


@given(seats=some_seats(), wants=some_wants())
def test_what_is_chosen_is_what_the_predicate_allows(seats: list[Seat], wants: list[Want]) -> None:
    send = choose(seats, wants, chunk_s=CHUNK_S)

    allowed = [(one, work) for work in wants for one in seats if why_not(one, work, seats=seats) is None]
    assert (send is None) == (not allowed)
    if send is not None:
        assert (send.seat, send.want) in allowed
        assert send.want.order == min(work.order for _, work in allowed)


@given(seats=some_seats(), wants=some_wants())
def test_a_worker_has_one_chunk_waiting_of_its_class_or_a_more_urgent_one(seats: list[Seat], wants: list[Want]) -> None:
    send = choose(seats, wants, chunk_s=CHUNK_S)

    assert send is None or send.seat.ahead(send.want.turn.rank) < SEAT_CHUNKS


@given(seats=some_seats(), wants=some_wants())
def test_every_work_that_is_not_chosen_has_a_reason_with_every_worker(seats: list[Seat], wants: list[Want]) -> None:
    send = choose(seats, wants, chunk_s=CHUNK_S)

    assert send is None or explain(send.seat, send.want, seats=seats, wants=wants) is None
    for work in wants:
        for one in seats:
            said = explain(one, work, seats=seats, wants=wants)
            assert said is None or said.says
            if send is None:
                assert said is not None


@given(seats=some_seats(), wants=some_wants())
def test_who_failed_or_lost_a_chunk_gets_it_only_where_nobody_else_could(seats: list[Seat], wants: list[Want]) -> None:
    send = choose(seats, wants, chunk_s=CHUNK_S)

    if send is not None:
        work = send.want
        able = {
            one.node: one for one in seats
            if work.device_type in (None, one.device_type) and one.wish is None and one.device_key not in work.too_large
        }  # fmt: skip
        if send.seat.node in work.avoid:
            assert able.keys() <= work.avoid
        elif send.seat.node in work.lost_on:
            fresh = [able[node] for node in able.keys() - work.avoid - work.lost_on]
            assert all(why_not(one, work, seats=seats) is not None for one in fresh)


@given(seats=some_seats(), wants=some_wants())
def test_the_choice_does_not_hang_on_the_order_of_workers(seats: list[Seat], wants: list[Want]) -> None:
    assert choose(seats, wants, chunk_s=CHUNK_S) == choose(seats[::-1], wants, chunk_s=CHUNK_S)


def test_a_load_is_cheaper_than_a_chunk_of_waiting_and_dearer_than_none() -> None:
    warm, cold = frozenset({"red"}), frozenset[str]()
    load = Load("other", 0, 1)

    busy = choose([seat("a", resident=warm, running=load), seat("b", resident=cold)], [want()], chunk_s=CHUNK_S)
    idle = choose([seat("a", resident=cold), seat("b", resident=warm)], [want()], chunk_s=CHUNK_S)

    assert busy is not None
    assert idle is not None
    assert (busy.seat.node, idle.seat.node) == ("b", "b")


LOW, MIDDLE, HIGH = Load("low", 1, 2), Load("middle", 2, 1), Load("high", 3, 0)
FULL = {"running": MIDDLE, "waiting": (MIDDLE,)}


@pytest.mark.parametrize(
    ("place", "work", "reason", "words"),
    [
        pytest.param(seat(), want(), None, "", id="free"),
        pytest.param(seat(), want(device_type="cuda"), Reason.DEVICE_TYPE, "plan is for cuda", id="device type"),
        pytest.param(seat(wish="drain"), want(), Reason.DRAINS, "is drained", id="drained"),
        pytest.param(seat(wish="stop"), want(), Reason.DRAINS, "at once", id="stopped"),
        pytest.param(
            seat(), want(too_large={"cpu": "batch 1"}), Reason.TOO_LARGE, "out of memory with batch 1", id="too large"
        ),
        pytest.param(
            seat(),
            want(too_large={"cpu": "batch 8"}, awaits=3),
            Reason.UNDECIDED,
            "out of memory with batch 8; a smaller plan may be taken once chunk 3 has come back",
            id="undecided",
        ),
        pytest.param(seat(rests={"red": "12:30:00"}), want(), Reason.RESTS, "rests until 12:30:00", id="rests"),
        pytest.param(seat(rests={"blue": "12:30:00"}), want(), None, "", id="rests with another model"),
        pytest.param(seat(**FULL), want(), Reason.BUSY, "runs middle chunk 2, middle chunk 2 waits", id="busy"),
        pytest.param(seat(running=LOW, waiting=(LOW,)), want(), None, "", id="what waits is less urgent"),
        pytest.param(seat(running=LOW, waiting=(HIGH,)), want(), Reason.BUSY, "high chunk 3 waits", id="more urgent"),
        pytest.param(
            seat(running=MIDDLE, expects="quick"),
            want(),
            Reason.HIGHER_CLASS,
            "keeps its place for quick",
            id="expects",
        ),
        pytest.param(seat(running=MIDDLE, expects="quick"), want(rank=0), None, "", id="expected"),
    ],
)
def test_a_refusal_says_why(place: Seat, work: Want, reason: Reason | None, words: str) -> None:
    said = why_not(place, work, seats=[place])

    assert (said and said.reason) == reason
    assert said is None or words in said.says


@pytest.mark.parametrize("kind", ["avoid", "lost_on"])
def test_a_chunk_goes_back_to_who_had_it_where_all_did(kind: str) -> None:
    places = [seat("a"), seat("b"), seat("c", wish="drain")]

    some = why_not(places[0], want(chunk=1, **{kind: frozenset("a")}), seats=places)
    every = why_not(places[0], want(chunk=1, **{kind: frozenset("ab")}), seats=places)

    assert some is not None
    assert "chunk 1 before" in some.says
    assert every is None


def test_a_lost_chunk_does_not_wait_for_a_busy_worker_while_who_lost_it_has_room() -> None:
    waits = seat("b", running=MIDDLE, waiting=(MIDDLE, MIDDLE))
    lost = want(chunk=1, lost_on=frozenset("a"), again=True)

    assert why_not(seat("a"), lost, seats=[seat("a"), waits]) is None
    refused = why_not(seat("a"), lost, seats=[seat("a"), seat("b")])

    assert refused is not None
    assert refused.reason == Reason.LOST_HERE


def test_a_chunk_goes_rather_to_who_lost_it_than_to_who_failed_it() -> None:
    places = [seat("a"), seat("b")]
    work = want(chunk=1, avoid=frozenset("a"), lost_on=frozenset("ab"))

    said = [why_not(place, work, seats=places) for place in places]

    assert said[0] is not None
    assert said[0].reason == Reason.FAILED_HERE
    assert said[1] is None


@pytest.mark.parametrize(
    ("other", "reason", "words"),
    [
        pytest.param(
            want("y", user="v", rank=0), Reason.HIGHER_CLASS, "job y of v: interactive goes before normal", id="class"
        ),
        pytest.param(want("y", user="v"), Reason.OTHER_USER, "0 chunks under way, u has 2", id="user"),
        pytest.param(
            want("y", user="v", user_in_flight=2, user_since=-9.0), Reason.OTHER_USER, "has waited longer", id="turns"
        ),
        pytest.param(
            want("y", user_in_flight=2), Reason.OTHER_JOB, "0 chunks under way, this one has 1", id="job"
        ),
        pytest.param(want("y", user_in_flight=2, in_flight=1, age=-1), Reason.OTHER_JOB, "is older", id="age"),
        pytest.param(want("y", user_in_flight=3), Reason.BUSY, "runs middle chunk 2", id="mine is next"),
    ],
)  # fmt: skip
def test_on_a_full_worker_it_says_whose_turn_comes(other: Want, reason: Reason, words: str) -> None:
    mine = want(user_in_flight=2, in_flight=1)

    said = explain(seat(**FULL), mine, seats=[seat(**FULL)], wants=[mine, other])

    assert said is not None
    assert said.reason == reason
    assert words in said.says


@pytest.mark.parametrize(
    ("seats", "nowhere"),
    [
        pytest.param([], False, id="nobody there"),
        pytest.param([seat(device_key="small")], True, id="all too small"),
        pytest.param([seat(device_key="small"), seat("b", device_key="big", wish="drain")], False, id="one drained"),
        pytest.param(
            [seat(device_key="small"), seat("b", device_type="cuda", device_key="gpu")], True, id="other kind"
        ),
    ],
)
def test_work_fits_nowhere_only_where_every_live_device_of_its_kind_is_too_small(
    seats: list[Seat], nowhere: bool
) -> None:
    assert fits_nowhere(want(device_type="cpu", too_large={"small": "batch 1"}), seats) == nowhere
    assert not fits_nowhere(want(device_type="cpu", too_large={"small": "batch 1"}, awaits=1), seats)


def test_what_was_lost_may_wait_beside_what_waits_already_but_only_one_of_it() -> None:
    load = Load("other", 1, 1)
    full = seat(running=load, waiting=(load,))
    fuller = seat(running=load, waiting=(load, load))

    assert why_not(full, want(chunk=3), seats=[full]) is not None
    assert why_not(full, want(chunk=3, again=True), seats=[full]) is None
    assert why_not(fuller, want(chunk=3, again=True), seats=[fuller]) is not None
