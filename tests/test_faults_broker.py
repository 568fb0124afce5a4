"""What happens to a job when Redis forgets, dies, goes away or back in time, and when messages are lost or doubled."""

import signal
import time

from fault_fixtures import MakeFarm
from faults import deeds, messages
from faults.checks import assert_whole
from faults.farm import Farm, node
from storage.wire import keys


def test_a_message_lost_in_the_pop_window_is_sent_again(shelf: MakeFarm) -> None:
    farm = shelf(workers=1)
    farm.wait(lambda: farm.beat("w1") is not None, what="w1")
    pids = deeds.pids_of(farm, "w1")
    deeds.send(signal.SIGSTOP, pids["node"], pids["child"])  # Redis hands a message to the socket of a frozen reader
    farm.submit("popped", images=20)
    farm.wait(lambda: any(chunk.state == "issued" for chunk in farm.chunks("popped")), what="a chunk on its way")

    deeds.send(signal.SIGKILL, pids["node"], pids["child"])

    farm.wait_done("popped")
    assert_whole(farm, "popped")


def test_a_waiting_message_that_vanishes_is_missed_and_sent_again(shelf_farm: Farm) -> None:
    shelf_farm.begin("vanished", "w1")

    shelf_farm.wait(lambda: messages.lose(shelf_farm, "w1"), what="a message to lose")

    shelf_farm.wait_done("vanished")
    assert_whole(shelf_farm, "vanished")


def test_a_message_delivered_twice_or_to_another_runs_once(shelf_farm: Farm) -> None:
    job = shelf_farm.begin("twice", "w1", "w2")

    shelf_farm.wait(lambda: messages.double(shelf_farm, "w1"), what="a message to double")
    shelf_farm.wait(lambda: messages.deliver_to_another(shelf_farm, "w1", "w2"), what="a message to divert")

    shelf_farm.wait_done("twice")
    dropped = sum(shelf_farm.said(worker, f"chunk dropped job={job}") for worker in ("w1", "w2"))
    assert dropped >= 1, "a token lets one delivery run"
    found = assert_whole(shelf_farm, "twice")
    assert found.orphans == 0, "nothing was rendered twice"


def test_a_message_to_a_dead_boot_goes_to_a_living_one(shelf_farm: Farm) -> None:
    shelf_farm.begin("boot", "w1")
    shelf_farm.wait(lambda: messages.waiting(shelf_farm, "w1"), what="a waiting message")
    before = shelf_farm.beat("w1")
    assert before is not None

    deeds.kill(shelf_farm, "w1", "node")

    shelf_farm.wait_done("boot")
    assert_whole(shelf_farm, "boot")
    shelf_farm.wait(lambda: (now := shelf_farm.beat("w1")) and now.boot != before.boot, what="a new boot")


def test_tokens_that_vanish_cost_attempts_and_no_image(shelf_farm: Farm) -> None:
    shelf_farm.begin("tokens", "w1", "w2")

    shelf_farm.wait(lambda: messages.spend_tokens(shelf_farm), what="a token")

    shelf_farm.wait_done("tokens")
    assert_whole(shelf_farm, "tokens")


def test_a_flushed_broker_is_noticed_within_two_seconds_and_fed_again(shelf_farm: Farm) -> None:
    shelf_farm.begin("flush", "w1", "w2")
    epoch = shelf_farm.redis.get(keys.EPOCH_KEY)

    shelf_farm.redis.flushall()
    since = time.monotonic()
    shelf_farm.wait(lambda: shelf_farm.redis.get(keys.EPOCH_KEY) == epoch, what="the epoch", timeout_s=2)

    shelf_farm.wait_done("flush")
    assert_whole(shelf_farm, "flush")
    assert time.monotonic() - since < 60


def test_a_broker_that_dies_comes_back_empty_or_a_second_older_loses_no_image(shelf_farm: Farm) -> None:
    server = shelf_farm.servers.valkey
    shelf_farm.begin("restart", "w1", "w2", images=160)

    server.restart(keep=True)
    after_kill = shelf_farm.done("restart")
    shelf_farm.wait(lambda: shelf_farm.done("restart") > after_kill, what="an image after the kill")
    server.restart(keep=False)
    after_loss = shelf_farm.done("restart")
    shelf_farm.wait(lambda: shelf_farm.done("restart") > after_loss, what="an image after the loss")
    copy, since = server.snapshot(), time.monotonic()
    shelf_farm.wait(lambda: time.monotonic() - since > 1, what="a second")
    server.roll_back(copy)

    shelf_farm.wait_done("restart")
    assert_whole(shelf_farm, "restart")


def test_a_broker_that_is_away_for_long_stops_no_rendering_and_loses_nothing(shelf_farm: Farm) -> None:
    shelf_farm.begin("away", "w1", "w2")
    held = shelf_farm.held("w1")
    mine = keys.chunk_prefix(held.job, held.chunk, held.attempt)

    shelf_farm.broker_tap.away()
    since = time.monotonic()
    shelf_farm.wait(lambda: time.monotonic() - since > 6, what="twice the silence")
    made = [blob.key for blob in shelf_farm.store.list(mine)]
    shelf_farm.broker_tap.heal()

    shelf_farm.wait_done("away")
    assert any(key.endswith("manifest.json") for key in made), "what a worker had in hand was finished and stored"
    assert_whole(shelf_farm, "away")


def test_a_line_that_hangs_and_is_cut_loses_nothing(shelf_farm: Farm) -> None:
    shelf_farm.begin("line", "w1", "w2", images=100)

    for _ in range(3):
        shelf_farm.broker_tap.cut()
        seen = shelf_farm.done("line")
        shelf_farm.wait(lambda seen=seen: shelf_farm.done("line") > seen, what="an image after the cut")
    shelf_farm.broker_tap.hang()
    since = time.monotonic()
    shelf_farm.wait(lambda: time.monotonic() - since > 4, what="more than the silence")
    shelf_farm.broker_tap.heal()

    shelf_farm.wait_done("line")
    assert_whole(shelf_farm, "line")


def test_a_forged_manifest_is_refused_and_said(shelf_farm: Farm) -> None:
    job = shelf_farm.begin("forged", "w1", images=16, steps=40)
    chunk = [row for row in shelf_farm.chunks("forged") if row.state == "issued"][-1]

    key = messages.forge(shelf_farm, job=job, chunk=chunk.number, attempt=chunk.attempt)

    shelf_farm.wait(lambda: shelf_farm.said("d1", "manifest refused"), what="the refusal")
    shelf_farm.wait_done("forged")
    assert shelf_farm.said("d1", key) >= 1
    assert "forger-cpu" not in {row.worker for row in shelf_farm.images("forged").values()}
    shelf_farm.store.delete([key])
    assert_whole(shelf_farm, "forged")


def test_a_queue_of_a_dead_boot_holds_nothing_that_runs(shelf_farm: Farm) -> None:
    job = shelf_farm.begin("stale", "w1")
    shelf_farm.wait(lambda: messages.waiting(shelf_farm, "w1"), what="a waiting message")
    old = shelf_farm.beat("w1")
    assert old is not None
    kept = [raw for name in messages.queues(shelf_farm, "w1") for raw in shelf_farm.redis.lrange(name, 0, -1)]
    deeds.kill(shelf_farm, "w1", "node")
    shelf_farm.wait_done("stale")
    shelf_farm.wait(lambda: (now := shelf_farm.beat("w1")) and now.boot != old.boot, what="a new boot")

    boot = getattr(shelf_farm.beat("w1"), "boot", "")
    for raw in kept:
        shelf_farm.redis.lpush(keys.worker_queue(node("w1"), boot), raw)

    shelf_farm.wait(lambda: messages.waiting(shelf_farm, "w1") == 0, what="the stale message taken")
    shelf_farm.wait(lambda: shelf_farm.said("w1", f"chunk dropped job={job}"), what="the stale message dropped")
    assert_whole(shelf_farm, "stale")
