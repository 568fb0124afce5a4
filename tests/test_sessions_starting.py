"""A worker whose child is dead or only starting is not idle beside its message: nobody could take it."""

from hearing import IDLE_S, SILENCE_S, Farm


def test_while_there_is_no_child_no_message_counts_as_lost() -> None:
    farm = Farm()
    farm.hear()
    assert farm.lost() is None

    for count in range(int(SILENCE_S)):  # the supervisor says again that it is dead
        farm.count = -1
        farm.hear(child=f"dead{count}")

        assert farm.lost() is None


def test_a_new_child_has_its_time_to_take_what_waits() -> None:
    farm = Farm()
    farm.hear()
    assert farm.lost() is None
    farm.hear(after=IDLE_S - 2)

    farm.hear(child="another", after=3)
    before = farm.lost()
    farm.hear(child="another", after=IDLE_S + 1)

    assert before is None
    assert farm.lost() == "message lost"
