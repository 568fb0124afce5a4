"""Placement is a pure function: nobody idles beside work, nobody is overfull, fairness before warmth."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.planning.placement import SEAT_CHUNKS, Seat, Want, choose

CHUNK_S = 60.0
_models = st.sampled_from(["red", "blue"])


@st.composite
def some_seats(draw: st.DrawFn) -> list[Seat]:
    nodes = draw(st.lists(st.sampled_from("abcde"), max_size=5, unique=True))
    return [
        Seat(
            node=node, boot="b", device_type=draw(st.sampled_from(["cpu", "cuda"])),
            resident=draw(st.frozensets(_models)), chunks=draw(st.integers(0, 3)),
        )
        for node in nodes
    ]  # fmt: skip


@st.composite
def some_wants(draw: st.DrawFn) -> list[Want]:
    one = st.builds(
        Want, job=st.sampled_from("xyz"), chunk=st.none() | st.integers(0, 9), model=st.none() | _models,
        device_type=st.none() | st.sampled_from(["cpu", "cuda"]), in_flight=st.integers(0, 3), age=st.integers(0, 3),
        lost_on=st.frozensets(st.sampled_from("abc")),
    )  # fmt: skip
    return draw(st.lists(one, max_size=6))


def fits(seat: Seat, want: Want) -> bool:
    return want.device_type in (None, seat.device_type)


@given(seats=some_seats(), wants=some_wants())
def test_a_worker_never_gets_more_than_two(seats: list[Seat], wants: list[Want]) -> None:
    send = choose(seats, wants, chunk_s=CHUNK_S)

    assert send is None or (send.seat.chunks < SEAT_CHUNKS and fits(send.seat, send.want))


@given(seats=some_seats(), wants=some_wants())
def test_nobody_idles_beside_work_that_fits(seats: list[Seat], wants: list[Want]) -> None:
    wants = [replace(want, lost_on=frozenset()) for want in wants]

    send = choose(seats, wants, chunk_s=CHUNK_S)

    room = any(seat.chunks < SEAT_CHUNKS and fits(seat, want) for seat in seats for want in wants)
    assert (send is not None) == room


@given(seats=some_seats(), wants=some_wants())
def test_the_job_with_the_fewest_in_flight_goes_first(seats: list[Seat], wants: list[Want]) -> None:
    send = choose(seats, wants, chunk_s=CHUNK_S)

    if send is not None:
        fairer = [want for want in wants if (want.in_flight, want.age) < (send.want.in_flight, send.want.age)]
        alone = [choose(seats, [want], chunk_s=CHUNK_S) for want in fairer]
        assert alone == [None] * len(fairer)


@given(seats=some_seats(), wants=some_wants())
def test_who_lost_a_chunk_gets_it_only_where_nobody_else_is(seats: list[Seat], wants: list[Want]) -> None:
    send = choose(seats, wants, chunk_s=CHUNK_S)

    if send is not None and send.seat.node in send.want.lost_on:
        assert {seat.node for seat in seats if fits(seat, send.want)} <= send.want.lost_on


@given(seats=some_seats(), wants=some_wants())
def test_the_choice_does_not_hang_on_the_order_of_workers(seats: list[Seat], wants: list[Want]) -> None:
    assert choose(seats, wants, chunk_s=CHUNK_S) == choose(seats[::-1], wants, chunk_s=CHUNK_S)


def seat(node: str, *, warm: bool, chunks: int) -> Seat:
    return Seat(node=node, boot="b", device_type="cpu", resident=frozenset({"red"} if warm else ()), chunks=chunks)


def test_a_load_is_cheaper_than_a_chunk_of_waiting_and_dearer_than_none() -> None:
    want = Want(job="x", chunk=None, model="red", device_type=None, in_flight=0, age=0)

    busy = choose([seat("a", warm=True, chunks=1), seat("b", warm=False, chunks=0)], [want], chunk_s=CHUNK_S)
    idle = choose([seat("a", warm=False, chunks=0), seat("b", warm=True, chunks=0)], [want], chunk_s=CHUNK_S)

    assert busy is not None
    assert idle is not None
    assert (busy.seat.node, idle.seat.node) == ("b", "b")
