"""What happens to a job when its dispatcher dies at a named line, freezes, or is away."""

import re
import time

import pytest

from fault_fixtures import MakeFarm
from faults import deeds
from faults.checks import assert_whole
from faults.crashing import EXIT_CODE, POINTS
from faults.farm import Farm
from storage.spec import Numbers
from storage.sql import leading

VICTIMS = {"lost": "node", "suspects": "child"}  # whose death leads to points that begin with this word


def is_amid(farm: Farm, worker: str) -> bool:
    """Whether a worker draws some images of a chunk, so that its death parts them from the rest."""
    beat = farm.beat(worker)
    held = None if beat is None else beat.holding
    return held is not None and 0 < len(Numbers.from_json(held.batch)) < held.of


@pytest.mark.parametrize("point", POINTS)
def test_a_dispatcher_that_dies_at_a_named_line_costs_no_image(shelf_farm: Farm, point: str) -> None:
    victim = VICTIMS.get(point.split(maxsplit=1)[0])
    name = re.sub("[^a-z]+", "-", point)
    deeds.kill_dispatcher(shelf_farm, "d1")
    shelf_farm.dispatcher("d1", crash=f"{point}:{1 if victim else 2}")
    shelf_farm.submit(name, images=40, batch=4 if victim is None else 1)
    if victim is not None:
        shelf_farm.wait(lambda: is_amid(shelf_farm, "w1"), what="a batch of a chunk that has more of them")
        deeds.kill(shelf_farm, "w1", victim)

    shelf_farm.wait(lambda: not shelf_farm.runs("d1"), what="the dispatcher's death")
    died_with = shelf_farm.parts["d1"].returncode
    shelf_farm.again("d1")

    shelf_farm.wait_done(name)
    assert died_with == EXIT_CODE, shelf_farm.words()
    assert_whole(shelf_farm, name)


def test_a_dispatcher_that_was_away_finds_what_the_workers_made(shelf_farm: Farm) -> None:
    shelf_farm.begin("away", "w1", "w2")

    deeds.kill_dispatcher(shelf_farm, "d1")
    shelf_farm.wait(
        lambda: not (shelf_farm.renders("w1") or shelf_farm.renders("w2")), what="the workers to run out of chunks"
    )
    since = time.monotonic()
    shelf_farm.wait(lambda: time.monotonic() - since > 6, what="twice the silence")
    shelf_farm.again("d1")

    shelf_farm.wait_done("away")
    assert_whole(shelf_farm, "away")
    assert {chunk.attempt for chunk in shelf_farm.chunks("away")} == {1}, "nothing was made twice"


def test_a_leader_that_froze_and_thaws_can_change_nothing(rack: MakeFarm) -> None:
    farm = rack(dispatchers=2)
    farm.begin("lead", "w1")
    first = farm.leader()
    assert first is not None
    frozen = deeds.freeze(farm, first)

    farm.wait(lambda: farm.leader() not in (None, first), what="another leader")
    taken = farm.done("lead")
    deeds.thaw(frozen)

    farm.wait_done("lead")
    assert farm.leader() != first
    assert farm.said(first, "lead lost") == 1
    with farm.database.write() as connection:
        assert leading.read(connection).epoch == 2
    assert taken < farm.job("lead").images
    assert_whole(farm, "lead")


def test_two_dispatchers_that_keep_dying_record_every_image_once(rack: MakeFarm) -> None:
    farm = rack(dispatchers=2)
    farm.begin("pair", "w1", images=100)

    for _ in range(4):
        farm.wait(farm.leader, what="a leader")
        leader, seen = farm.leader() or "d1", farm.done("pair")
        deeds.kill_dispatcher(farm, leader)
        farm.again(leader)
        farm.wait(lambda seen=seen: farm.done("pair") > seen, what="the next record")

    farm.wait_done("pair")
    assert_whole(farm, "pair")
