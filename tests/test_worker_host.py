"""Which nodes a host starts, what it calls them, and how its logs read."""

import logging

import pytest

from storage.errors import UserError
from storage.logs import LineFormatter
from storage.wire.messages import Holding
from worker.child.link import progress_text
from worker.devices import Card, host_name, plan_nodes, read_listing, visible

CARDS = [Card(index=number, uuid=f"GPU-{number}{number}-ab", name="NVIDIA H100") for number in range(2)]


def test_a_listing_of_cards_is_read() -> None:
    text = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5f-1)\n  MIG 1g (UUID: MIG-1)\nGPU 1: Tesla T4 (UUID: GPU-6)\n"

    assert [(card.index, card.name, card.uuid) for card in read_listing(text)] == [
        (0, "NVIDIA H100 80GB HBM3", "GPU-5f-1"), (1, "Tesla T4", "GPU-6"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("allowed", "indices"),
    [
        pytest.param(None, [0, 1], id="not set"),
        pytest.param("", [], id="none"),
        pytest.param("1", [1], id="by number"),
        pytest.param("GPU-00", [0], id="by uuid"),
    ],
)
def test_cards_that_are_not_ours_are_left_alone(allowed: str | None, indices: list[int]) -> None:
    assert [card.index for card in visible(CARDS, allowed)] == indices


@pytest.mark.parametrize(
    ("devices", "cards", "nodes"),
    [
        pytest.param("all", [], [("h-cpu", 8)], id="no card"),
        pytest.param("all", CARDS, [("h-gpu0", 4), ("h-gpu1", 4)], id="every card"),
        pytest.param("1", CARDS, [("h-gpu1", 8)], id="one card"),
        pytest.param("cpu,cpu", CARDS, [("h-cpu0", 4), ("h-cpu1", 4)], id="two on the cores"),
    ],
)
def test_devices_become_nodes_that_share_the_cores(
    devices: str, cards: list[Card], nodes: list[tuple[str, int]]
) -> None:
    plans = plan_nodes(devices, host="h", cards=cards, cores=8)

    assert [(plan.name, plan.threads) for plan in plans] == nodes


def test_a_node_sees_its_card_and_no_other() -> None:
    gpu, cpu = plan_nodes("1,cpu", host="h", cards=CARDS, cores=8, threads=3)

    assert gpu.environment["CUDA_VISIBLE_DEVICES"] == "GPU-11-ab"
    assert cpu.environment["CUDA_VISIBLE_DEVICES"] == ""
    assert cpu.environment["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        pytest.param("0,7", "no device '7'", id="no such card"),
        pytest.param("tpu", "found: 0, 1", id="no such word"),
        pytest.param("0,0", "twice", id="one card twice"),
    ],
)
def test_a_device_that_is_not_there_is_refused(devices: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan_nodes(devices, host="h", cards=CARDS, cores=8)


def test_names_of_hosts_are_made_of_plain_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Rack_7.example.org")

    assert host_name() == "rack-7"
    with pytest.raises(UserError, match="a-z, 0-9"):
        host_name("Rack 7")


def test_flower_shows_a_step_and_the_images_so_far() -> None:
    held = Holding(job="j", chunk=1, attempt=1, run="r", phase="running", step=12, steps=30, images=3, of=8)

    assert progress_text(held) == "step 12/30 · image 3/8"
    assert progress_text(held.model_copy(update={"phase": "loading"})) == "loading · image 3/8"


def test_a_log_line_is_an_event_with_its_fields_on_one_line() -> None:
    extra = {"images": 96, "reason": "two\nlines", "s": 61.4}
    record = logging.getLogger("x").makeRecord("worker.x", logging.INFO, "f", 1, "chunk stored", (), None, extra=extra)

    line = LineFormatter().format(record)

    assert line.endswith("Z INFO worker.x chunk stored images=96 reason='two\\nlines' s=61.4")
