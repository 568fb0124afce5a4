"""What happens to a job when its object store or its database fails, lies, crawls or goes away."""

import time

from fault_fixtures import MakeFarm
from faults import deeds
from faults.checks import assert_whole
from faults.farm import Farm
from faults.http_tap import HttpTap, Trouble


def tap_of(farm: Farm) -> HttpTap:
    assert farm.store_tap is not None
    return farm.store_tap


def test_a_store_that_fails_a_fifth_of_all_requests_costs_time_alone(rack_farm: Farm) -> None:
    tap = tap_of(rack_farm)
    tap.dealt.clear()

    tap.trouble(Trouble(errors=0.2, resets=0.05, truncated=0.05))
    rack_farm.submit("errors", images=60, steps=2)
    rack_farm.wait_done("errors", timeout_s=120)

    assert all(tap.dealt[kind] for kind in ("errors", "resets", "truncated")), tap.dealt
    assert_whole(rack_farm, "errors")


def test_a_thin_line_to_the_store_costs_time_alone(rack_farm: Farm) -> None:
    rack_farm.begin("thin", "w1", "w2")

    tap_of(rack_farm).trouble(Trouble(bytes_per_s=4000))
    seen = rack_farm.done("thin")
    rack_farm.wait(lambda: rack_farm.done("thin") > seen, what="an image over a thin line")
    tap_of(rack_farm).heal()

    rack_farm.wait_done("thin")
    assert_whole(rack_farm, "thin")


def test_nothing_is_issued_again_while_the_store_is_away(rack_farm: Farm) -> None:
    rack_farm.begin("store", "w1", "w2", images=80)

    tap_of(rack_farm).away()
    attempts = {chunk.number: chunk.attempt for chunk in rack_farm.chunks("store")}
    deeds.kill(rack_farm, "w1", "node")
    since = time.monotonic()
    rack_farm.wait(lambda: time.monotonic() - since > 7, what="twice the silence")
    meanwhile = {chunk.number: chunk.attempt for chunk in rack_farm.chunks("store")}
    tap_of(rack_farm).heal()

    rack_farm.wait_done("store", timeout_s=120)
    assert {number: meanwhile[number] for number in attempts} == attempts
    assert_whole(rack_farm, "store")


def test_a_store_that_swallows_requests_loses_nothing(rack_farm: Farm) -> None:
    rack_farm.begin("hang", "w1", "w2")

    tap_of(rack_farm).hang()
    since = time.monotonic()
    rack_farm.wait(lambda: time.monotonic() - since > 4, what="more than the silence")
    tap_of(rack_farm).heal()
    tap_of(rack_farm).cut()

    rack_farm.wait_done("hang", timeout_s=120)
    assert_whole(rack_farm, "hang")


def test_a_worker_that_dies_while_the_store_is_away_leaves_nothing_behind(rack: MakeFarm) -> None:
    farm = rack(workers=1)
    farm.begin("spool", "w1")

    tap_of(farm).away()
    since = time.monotonic()
    farm.wait(lambda: time.monotonic() - since > 4, what="what was in hand to be drawn")
    deeds.kill_worker(farm, "w1")
    farm.again("w1")
    tap_of(farm).heal()

    farm.wait_done("spool", timeout_s=120)
    assert_whole(farm, "spool")


def test_a_database_that_is_killed_and_comes_back_loses_no_record(rack_farm: Farm) -> None:
    server = rack_farm.servers.postgres
    assert server is not None
    rack_farm.begin("database", "w1", "w2", images=100)

    for _ in range(2):
        seen = rack_farm.done("database")
        server.restart()
        rack_farm.wait(lambda seen=seen: rack_farm.done("database") > seen, what="a record after the restart")

    rack_farm.wait_done("database")
    assert_whole(rack_farm, "database")


def test_a_database_that_is_away_or_cut_off_loses_no_record(rack_farm: Farm) -> None:
    tap = rack_farm.sql_tap
    assert tap is not None
    rack_farm.begin("sql", "w1", "w2", images=80)

    tap.cut()
    tap.away()
    since = time.monotonic()
    rack_farm.wait(lambda: time.monotonic() - since > 4, what="more than the silence")
    tap.heal()

    rack_farm.wait_done("sql")
    assert_whole(rack_farm, "sql")
