"""Breaks a farm of real processes on this machine, and prints what came of it as two tables.

    make chaos                                            both tables in full: up to an hour on 2 cores
    .venv/bin/python -m benchmarks.chaos takeover         kills under default timers
    .venv/bin/python -m benchmarks.chaos storm --seed 7   seeded faults under scaled timers

Everything runs in a temporary folder on free ports and is gone afterwards. Progress goes to stderr, the tables to
stdout, or with --out into a file. Exit code 1: something was lost, doubled or wrong.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))  # where the servers, the farm under fault and its proxies live


def main() -> int:
    """Measure what was asked for; return the exit code."""
    options = _options()
    from benchmarks.chaos.storm import measure_storm
    from benchmarks.chaos.takeover import measure_takeover

    runs: dict[str, Callable[[argparse.Namespace, Path], tuple[str, bool]]] = {}
    if options.what in ("takeover", "all"):
        runs["takeover"] = measure_takeover
    if options.what in ("storm", "all"):
        runs["storm"] = measure_storm
    tables, good = [], True
    for name, measure in runs.items():
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="seedfarm-chaos-", ignore_cleanup_errors=True) as folder:
            table, passed = measure(options, Path(folder))
        tables.append(table)
        good = good and passed
        print(f"{name}: {time.monotonic() - begun:.0f} s, {'passed' if passed else 'FAILED'}", file=sys.stderr)
        if options.out is None:
            print(table, flush=True)
        else:
            options.out.write_text("\n".join(tables))
    return 0 if good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="?", choices=["all", "takeover", "storm"], default="all")
    parser.add_argument("--seed", type=int, default=1, help="which faults, on whom, how long [1]")
    parser.add_argument("--kills", type=int, default=102, help="of the takeover table [102]")
    parser.add_argument("--kill-gap", type=float, default=8.0, help="seconds between two kills [8]")
    parser.add_argument("--faults", type=int, default=220, help="of the storm; a few may find nothing to break [220]")
    parser.add_argument("--images", type=int, default=20_000, help="of the storm [20000]")
    parser.add_argument("--scale", type=float, default=0.1, help="FARM_TIME_SCALE of the storm [0.1]")
    parser.add_argument("--out", type=Path, help="file for the tables")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
