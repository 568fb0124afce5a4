"""`./farm test`: format, lint, types, imports, then every test on real servers that it starts and stops itself.

`--strict` turns every skip into a failure with its name. Anything else goes to pytest: `./farm test -k sheet`.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS = (
    ("lint", [BIN / "ruff", "check", "--no-cache", "."]),
    ("format", [BIN / "ruff", "format", "--check", "--no-cache", "."]),
    ("types", [BIN / "mypy"]),
    ("imports", [BIN / "lint-imports", "--no-cache"]),
)


def main(arguments: list[str]) -> int:
    """Run the checks, unless pytest arguments choose some tests, then pytest. Returns the exit code."""
    strict = "--strict" in arguments
    chosen = [argument for argument in arguments if argument != "--strict"]
    env = clean_environment(strict=strict)
    sys.path.insert(0, str(ROOT / "tests"))
    from servers.ministack import install_ministack

    install_ministack()
    for name, command in () if chosen else CHECKS:
        print(f"== {name}", flush=True)
        ended = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
        if ended.returncode:
            print(f"{ended.stdout}{ended.stderr}\nfarm: {name} failed", file=sys.stderr)
            return ended.returncode
    print("== tests", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *chosen], cwd=ROOT, env=env, check=False).returncode


def clean_environment(*, strict: bool) -> dict[str, str]:
    """The environment of the tests: no settings of a farm that happens to run here, one thread a process."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
    env |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    return env | ({"SEEDFARM_STRICT": "1"} if strict else {})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
