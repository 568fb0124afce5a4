"""Classes, ageing and fair share, watched on a rack of workers on paper."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.planning.placing.turns import RANKS, rank_of
from rack import Rack
from storage.states import Priority

_classes = st.sampled_from([Priority.NORMAL, Priority.BACKGROUND])


@given(
    nodes=st.integers(1, 3),
    others=st.lists(st.tuples(st.sampled_from("abc"), _classes, st.integers(1, 9), st.integers(5, 90)), max_size=5),
    steps=st.integers(0, 12),
)
def test_an_interactive_job_waits_for_one_running_chunk_at_most(
    nodes: int, others: list[tuple[str, Priority, int, int]], steps: int
) -> None:
    rack = Rack(nodes)
    for user, priority, chunks, chunk_s in others:
        rack.submit(user, priority=priority, chunks=chunks, chunk_s=chunk_s)
    for _ in range(steps):
        if any(job.left or job.in_flight for job in rack.jobs):
            rack.step()
    rack.feed()
    asked_at, before = rack.now, len(rack.begun)
    mine = rack.submit("me", priority=Priority.INTERACTIVE, chunks=3)

    while not any(job is mine for _, _, job in rack.begun):
        rack.step()

    place = next(place for place, (_, _, job) in enumerate(rack.begun) if job is mine)
    node = rack.begun[place][1]
    assert not [job for _, where, job in rack.begun[before:place] if where == node]
    assert rack.begun[place][0] - asked_at <= max([chunk_s for *_, chunk_s in others], default=0)


@given(nodes=st.integers(1, 3), ageing_s=st.sampled_from([300.0, 1800.0]))
def test_background_work_ends_while_normal_jobs_keep_coming(nodes: int, ageing_s: float) -> None:
    rack = Rack(nodes, ageing_s=ageing_s)
    patient = rack.submit("patient", priority=Priority.BACKGROUND, chunks=3)

    while patient.done < 3:
        if sum(job.left for job in rack.jobs if job is not patient) < 4 * nodes:
            rack.submit("busy", chunks=4)
            rack.submit("busier", chunks=4)
        rack.step()
        assert rack.now < 4 * (ageing_s + 600)

    waits = [when for when, _, job in rack.begun if job is patient]
    assert waits[0] >= ageing_s - 60 or nodes > 1


@given(jobs=st.integers(1, 6), nodes=st.integers(1, 4))
def test_two_users_share_evenly_whatever_their_numbers_of_jobs(jobs: int, nodes: int) -> None:
    rack = Rack(nodes)
    for _ in range(jobs):
        rack.submit("many", chunks=200)
    rack.submit("one", chunks=200)

    for _ in range(60):
        rack.step()

    begun = Counter(job.user for _, _, job in rack.begun)
    assert abs(begun["many"] - begun["one"]) <= 2 * nodes


def test_more_users_than_places_take_turns() -> None:
    rack = Rack(1)
    for user in ("a", "a", "b", "c"):
        rack.submit(user, chunks=100)

    for _ in range(60):
        rack.step()

    begun = Counter(job.user for _, _, job in rack.begun)
    counts = [begun[user] for user in "abc"]
    assert max(counts) - min(counts) <= 2


def test_a_user_who_waits_is_not_overtaken_for_ever_by_new_ones() -> None:
    rack = Rack(1)
    rack.submit("first", chunks=50)
    rack.feed()

    for guest in range(40):
        rack.submit(f"guest{guest}-", chunks=2)
        rack.step()

    assert Counter(job.user for _, _, job in rack.begun)["first"] >= 3


@given(
    nodes=st.integers(1, 4),
    jobs=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(list(Priority)), st.integers(1, 8)), max_size=6),
)
def test_no_worker_idles_beside_work(nodes: int, jobs: list[tuple[str, Priority, int]]) -> None:
    rack = Rack(nodes)
    for user, priority, chunks in jobs:
        rack.submit(user, priority=priority, chunks=chunks)

    while any(job.left or job.in_flight for job in rack.jobs):
        rack.feed()
        idle = [node for node, worker in rack.workers.items() if worker.running is None]
        assert not idle or not any(job.left for job in rack.jobs)
        assert all(len(worker.waiting) <= 3 for worker in rack.workers.values())
        rack.step()


@pytest.mark.parametrize(
    ("priority", "waited_s", "counts_as"),
    [
        pytest.param(Priority.BACKGROUND, 1799.0, Priority.BACKGROUND, id="not long enough"),
        pytest.param(Priority.BACKGROUND, 1800.0, Priority.NORMAL, id="long enough"),
        pytest.param(Priority.BACKGROUND, 1e9, Priority.NORMAL, id="one class only"),
        pytest.param(Priority.NORMAL, 1e9, Priority.NORMAL, id="never interactive"),
        pytest.param(Priority.INTERACTIVE, 1e9, Priority.INTERACTIVE, id="nothing above"),
    ],
)
def test_a_job_that_got_nothing_for_long_counts_one_class_higher(
    priority: Priority, waited_s: float, counts_as: Priority
) -> None:
    assert rank_of(priority, waited_s=waited_s, ageing_s=1800) == RANKS[counts_as]
