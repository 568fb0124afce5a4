"""What happens to a job when its workers die, freeze, run full, lie about the time or meet a namesake."""

import signal
import time
from pathlib import Path

from fault_fixtures import MakeFarm
from faults import deeds
from faults.checks import assert_whole
from faults.farm import Farm

CLOCK = Path(__file__).parent / "faults" / "clock"


def test_a_child_that_dies_with_its_semaphore_tracker_is_replaced(shelf: MakeFarm) -> None:
    farm = shelf(workers=1)
    farm.begin("tracker")
    before = farm.beat("w1")

    assert deeds.kill(farm, "w1", "tracker", "child")

    farm.wait_done("tracker")
    after = farm.beat("w1")
    assert before is not None
    assert after is not None
    assert after.child != before.child
    assert_whole(farm, "tracker")


def test_two_workers_of_one_name_that_start_together_leave_one(shelf: MakeFarm) -> None:
    farm = shelf(workers=0)
    farm.worker("w1")
    clone = farm.start(*farm.way("w1"), name="clone")

    farm.begin("twins")

    farm.wait_done("twins")
    assert_whole(farm, "twins")
    farm.wait(lambda: clone.poll() is not None or not farm.runs("w1"), what="one of them yields")


def test_a_full_disk_holds_a_worker_up_and_fails_nothing(shelf: MakeFarm) -> None:
    farm = shelf(workers=1)
    farm.begin("full")

    full = deeds.fill_disk(farm, "w1")
    before, since = farm.done("full"), time.monotonic()
    farm.wait(lambda: time.monotonic() - since > 3, what="three seconds without room")
    deeds.clear_disk(full)

    farm.wait_done("full")
    assert farm.job("full").done > before
    assert_whole(farm, "full")


def test_clocks_that_are_wrong_and_jump_decide_nothing(shelf: MakeFarm) -> None:
    farm = shelf(workers=0, dispatchers=0)
    clocks = {name: farm.folder / f"{name}.clock" for name in ("d1", "w1", "w2")}
    for name, start in (("d1", farm.dispatcher), ("w1", farm.worker), ("w2", farm.worker)):
        clocks[name].write_text("3600" if name == "w1" else "0")
        path = f"{CLOCK}:{farm.env['PYTHONPATH']}"
        start(name, PYTHONPATH=path, SEEDFARM_CLOCK=str(clocks[name]))
    farm.begin("clocks", "w1", "w2")

    clocks["w1"].write_text("-3600")
    clocks["w2"].write_text("86400")
    clocks["d1"].write_text("-7200")

    farm.wait_done("clocks")
    assert_whole(farm, "clocks")
    assert {chunk.attempt for chunk in farm.chunks("clocks")} == {1}, "nobody was taken for silent"


def test_a_worker_that_loses_power_costs_no_image(shelf_farm: Farm) -> None:
    shelf_farm.begin("power")

    deeds.kill_worker(shelf_farm, "w1")

    shelf_farm.wait_done("power")
    assert_whole(shelf_farm, "power")


def test_both_workers_dying_at_once_cost_no_image(shelf_farm: Farm) -> None:
    shelf_farm.begin("both", "w1", "w2")

    deeds.kill(shelf_farm, "w1", "node")
    deeds.kill(shelf_farm, "w2", "child")

    shelf_farm.wait_done("both")
    assert_whole(shelf_farm, "both")


def test_a_worker_that_froze_and_thaws_after_its_chunk_went_on_doubles_nothing(shelf_farm: Farm) -> None:
    shelf_farm.begin("frozen")
    held = shelf_farm.held("w1")
    frozen = deeds.freeze(shelf_farm, "w1")
    attempt = held.attempt
    number = held.chunk

    def went_on() -> bool:
        chunk = next(row for row in shelf_farm.chunks("frozen") if row.number == number)
        return chunk.attempt > attempt or chunk.state in ("done", "dropped")

    shelf_farm.wait(went_on, what="the chunk elsewhere")
    deeds.thaw(frozen)

    shelf_farm.wait_done("frozen")
    assert_whole(shelf_farm, "frozen")


def test_a_second_worker_of_the_same_name_is_refused(shelf_farm: Farm) -> None:
    shelf_farm.begin("clone")

    clone = shelf_farm.start(*shelf_farm.way("w1"), name="clone")

    assert clone.wait(timeout=40) == 1
    assert shelf_farm.said("clone", "a live worker has this name") == 1
    shelf_farm.wait_done("clone")
    assert_whole(shelf_farm, "clone")


def test_a_deploy_gives_the_device_back_and_loses_nothing(shelf_farm: Farm) -> None:
    shelf_farm.begin("deploy", "w1")

    for name in ("w1", "d1", "w2"):
        shelf_farm.deploy(name, within_s=15)

    shelf_farm.wait_done("deploy")
    assert_whole(shelf_farm, "deploy")


def test_a_killed_supervisor_takes_its_node_along(shelf_farm: Farm) -> None:
    shelf_farm.begin("supervisor")
    below = deeds.pids_of(shelf_farm, "w1")

    deeds.send(signal.SIGKILL, below["supervisor"])

    shelf_farm.parts["w1"].wait(timeout=10)
    shelf_farm.wait(lambda: not any(map(deeds.is_alive, below.values())), what="the node's end")
    shelf_farm.wait_done("supervisor")
    assert_whole(shelf_farm, "supervisor")
