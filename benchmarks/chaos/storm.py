"""Table 2: seeded faults under scaled timers over many images, and what a flush, a large job and poison cost."""

import argparse
from pathlib import Path

from benchmarks.chaos.tables import machine, markdown, say
from faults.checks import Findings, check
from faults.farm import Farm
from faults.feats import feed_after_flush, most_memory, own_faults
from faults.parts import Servers, own_servers
from faults.storm import Outcome, Storm, draw, start_parts

WORKERS = 3
JOB_IMAGES = 1000
GAP_S = (1.0, 6.0)
FEED_GOAL_S = 15.0
MEMORY_GOAL = 16 * 2**20
POISON = (5, 21, 22)  # seeds that end the process
POISON_GOAL = 3
LARGE_JOB = 1_000_000


def measure_storm(options: argparse.Namespace, folder: Path) -> tuple[str, bool]:
    """Break a farm; return the table and whether every goal was met."""
    with own_servers() as servers:
        say("memory and feed: 4 workers, a job of a million images, default timers")
        memory, feed = _memory_and_feed(servers, folder / "large")
        say("poison: images that end their process")
        poison, poisoned = _poison(servers, folder / "poison", options.scale)
        say(f"storm: {options.faults} faults over {options.images} images, seed {options.seed}")
        outcome = _storm(servers, folder / "storm", options)
    wrong = [name for name, found in outcome.jobs.items() if not found.clean]
    for name in [*outcome.unfinished, *wrong]:
        say(f"{name}: {outcome.jobs[name]}")
    met = feed <= FEED_GOAL_S and memory <= MEMORY_GOAL and poison <= POISON_GOAL and poisoned.clean
    return _table(options, outcome, memory=memory, feed=feed, poison=poison), outcome.clean and met


def _memory_and_feed(servers: Servers, folder: Path) -> tuple[int, float]:
    servers.valkey.restart(keep=False)
    empty = servers.valkey.used_memory()
    with Farm(folder, servers, scale=1.0, model={"seconds_per_step": 0.1}) as farm:
        start_parts(farm, dispatchers=1, workers=4)
        farm.submit("large", images=LARGE_JOB, steps=10)
        feed = feed_after_flush(farm)
        return most_memory(farm, seconds=20) - empty, feed


def _poison(servers: Servers, folder: Path, scale: float) -> tuple[int, Findings]:
    with Farm(folder, servers, scale=scale, model={"seconds_per_step": 0.02, "kill_seeds": list(POISON)}) as farm:
        start_parts(farm, dispatchers=1, workers=2)
        farm.submit("poison", images=40, batch=4)
        farm.wait_done("poison", timeout_s=240)
        job = farm.job("poison").id
        most = max(own_faults(farm, job, seed) for seed in POISON)
        if most > POISON_GOAL:
            say(farm.command("logs", job).stdout + farm.words())
        return most, check(farm, "poison", failed=POISON)


def _storm(servers: Servers, folder: Path, options: argparse.Namespace) -> Outcome:
    faults = draw(options.seed, options.faults, gap_s=GAP_S, silence_s=30 * options.scale)
    model = {"seconds_per_step": 0.25}  # a batch of 8 takes half a second: the farm is never idle
    with Farm(folder, servers, scale=options.scale, model=model, seed=options.seed, FARM_CHUNK_S="3") as farm:
        start_parts(farm, dispatchers=2, workers=WORKERS)
        job_images = min(JOB_IMAGES, max(50, options.images // 4))
        outcome = Storm(farm, faults, images=options.images, job_images=job_images, say=say).run()
        if not outcome.clean:
            say(farm.words())
        return outcome


def _table(options: argparse.Namespace, outcome: Outcome, *, memory: int, feed: float, poison: int) -> str:
    images, again = outcome.total("images"), outcome.total("orphans")
    unfinished = f", {len(outcome.unfinished)} jobs unfinished" if outcome.unfinished else ""
    ends = ", ".join(f"{count} {name}" for name, count in sorted(outcome.attempts.items()))
    rows: list[list[object]] = [
        ["faults dealt (seed)", f"{outcome.dealt.total()}, of {len(outcome.dealt)} kinds ({options.seed})", "≥ 200"],
        ["images", f"{images} in {len(outcome.jobs)} jobs, {outcome.seconds / 60:.1f} min", "≥ 20,000, < 30 min"],
        ["lost", f"{outcome.total('lost')}{unfinished}", "0"],
        ["doubled", outcome.total("doubled"), "0"],
        ["wrong: bytes, size, pixels, recipe", outcome.total("wrong"), "0"],
        ["objects that nothing explains", outcome.total("strays"), "0"],
        ["objects of runs that lost, all seen by `farm gc`", f"{again} ({again / max(1, images):.1%})", ""],
        ["of these left by `farm gc`", outcome.unseen, "0"],
        ["after FLUSHALL full feed, default timers", f"{feed:.1f} s", f"≤ {FEED_GOAL_S:.0f} s"],
        ["Redis above an empty server, 4 workers", f"{memory / 2**20:.1f} MiB", "≤ 16 MiB"],
        ["processes that one poison image ended, at most", poison, f"≤ {POISON_GOAL}"],
    ]
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(outcome.dealt.items()))
    note = f"Timers x {options.scale}, {WORKERS} workers, 2 dispatchers, PostgreSQL, S3. {machine()}.\n\n"
    missed = f" Not possible when their turn came: {', '.join(sorted(outcome.missed))}." if outcome.missed else ""
    return f"{markdown(['what', 'measured', 'goal'], rows)}\n{note}Faults: {kinds}.{missed}\n\nAttempts: {ends}.\n"
