"""The tables of states: every walk stays inside, and what is final stays final."""

from hypothesis import given
from hypothesis import strategies as st

from storage.states import CHUNK_STEPS, JOB_STEPS, OPEN_JOBS, ChunkState, JobState, chunk_sources_of, sources_of


@given(picks=st.lists(st.integers(0, 5), max_size=20))
def test_no_walk_of_a_job_leaves_the_table(picks: list[int]) -> None:
    state = JobState.QUEUED

    for pick in picks:
        after = sorted(JOB_STEPS[state])
        if not after:
            assert state == JobState.CANCELLED
            return
        before, state = state, after[pick % len(after)]
        assert before in sources_of(state)


def test_final_states_are_final() -> None:
    assert {state for state in JobState if not JOB_STEPS[state]} == {JobState.CANCELLED}
    assert {state for state in JobState if state not in OPEN_JOBS} == {
        JobState.DONE, JobState.FAILED, JobState.CANCELLED,
    }  # fmt: skip
    assert {state for state in ChunkState if not CHUNK_STEPS[state]} == {ChunkState.DONE, ChunkState.DROPPED}


def test_sources_are_the_steps_turned_round() -> None:
    assert all((one in sources_of(other)) == (other in JOB_STEPS[one]) for one in JobState for other in JobState)
    assert all(
        (one in chunk_sources_of(other)) == (other in CHUNK_STEPS[one]) for one in ChunkState for other in ChunkState
    )


def test_every_open_state_can_fail_and_be_cancelled() -> None:
    assert all({JobState.FAILED, JobState.CANCELLED} <= JOB_STEPS[state] for state in OPEN_JOBS)
