"""Table 1: kills under default timers, and how long until the lost chunk was issued again."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chaos.tables import machine, markdown, quantile, say
from faults.farm import Farm
from faults.parts import own_servers
from faults.takeover import Kill, Takeovers

WORKERS = 4
KINDS = ["child", "node", "worker"]
NAMES = {
    "child": "the process that owns the device",
    "node": "the Celery node, its child with it",
    "worker": "everything of the worker at once, as a power cut",
}
GOAL_S = 30.0
STEPS = 10
SECONDS_PER_STEP = 0.1  # a batch of 4 takes a second, so a chunk of 60 s has 240 images


def measure_takeover(options: argparse.Namespace, folder: Path) -> tuple[str, bool]:
    """Kill; return the table and whether every kill was taken over in time."""
    with own_servers() as servers:
        model = {"seconds_per_step": SECONDS_PER_STEP}
        with Farm(folder, servers, scale=1.0, model=model, seed=options.seed) as farm:
            farm.dispatcher("d1")
            for number in range(1, WORKERS + 1):
                farm.worker(f"w{number}")
            farm.submit("takeover", images=1_000_000, steps=STEPS)
            farm.wait(lambda: all(farm.renders(f"w{n}") for n in range(1, WORKERS + 1)), what="all workers at work")
            kills = Takeovers(farm, KINDS, say=say).run(options.kills, gap_s=options.kill_gap)
            failed = farm.job("takeover").failed
    return _table(kills, failed), failed == 0 and _in_time(kills)


def _table(kills: Sequence[Kill], failed: int) -> str:
    rows = []
    for kind in [*KINDS, ""]:
        mine = [kill for kill in kills if kind in ("", kill.kind)]
        noticed = [kill.noticed_s for kill in mine if kill.noticed_s is not None]
        again = [kill.again_s for kill in mine if kill.again_s is not None]
        if mine:
            times = [*_quantiles(noticed), *_quantiles(again), f"{max(again):.1f} s"]
            rows.append([NAMES.get(kind, "all"), len(mine), *times])
    head = ["kill -9 of", "kills", "noticed p50", "p99", "issued again p50", "p99", "longest"]
    note = f"{WORKERS} workers, chunks of 60 s, default timers; images that failed: {failed}. {machine()}."
    return f"{markdown(head, rows)}\n{note}\n"


def _quantiles(values: Sequence[float]) -> list[str]:
    return [f"{quantile(values, share):.1f} s" if values else "" for share in (0.5, 0.99)]


def _in_time(kills: Sequence[Kill]) -> bool:
    return quantile([kill.again_s or 0.0 for kill in kills], 0.99) <= GOAL_S
