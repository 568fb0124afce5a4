"""A job's size is worked out by multiplying, before anything of that size is built."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from storage.errors import UserError
from storage.spec import check_job_file, freeze
from storage.spec.file.allowed import Allowed

MANY = {"count": 10**15}
WORDS = {name: [f"{name}{place}" for place in range(100)] for name in "abcdefgh"}
HUGE: dict[str, dict[str, Any]] = {
    "one long axis": {"axes": {"prompt": ["a"], "seed": MANY}},
    "an axis beyond counting": {"axes": {"prompt": ["a"], "seed": {"count": 10**30}}},
    "an axis that steps far": {"axes": {"prompt": ["a"], "seed": {"count": 10**9, "step": 10**12}}},
    "derived seeds": {"axes": {"prompt": ["a"], "seed": {"derive": 10**15}}},
    "long axes times long axes": {
        "axes": {"prompt": ["a"] * 1000, "seed": {"count": 10**9}, "steps": {"start": 1, "count": 999}},
    },
    "a template of eight lists": {
        "axes": {"prompt": {"template": " ".join(f"{{{name}}}" for name in WORDS), "values": WORDS}, "seed": MANY}
    },
    "a zip of long axes": {
        "prompt": "a", "zip": [{"seed": {"count": 10**14}, "steps": {"start": 1, "count": 10**14, "step": 0}}],
    },
    "many axes": {
        "axes": {"prompt": ["a"] * 50, "seed": {"count": 10**6}, "guidance_scale": [1 + n / 100 for n in range(99)]},
    },
    "just above the cap": {"axes": {"prompt": ["a"], "seed": {"count": 10**9 + 1}}},
    "with most of it excluded": {"axes": {"prompt": ["a"], "seed": MANY}, "exclude": [{"prompt": "a"}]},
}  # fmt: skip


@pytest.mark.parametrize("entries", HUGE.values(), ids=HUGE)
def test_a_job_of_too_many_images_is_refused_at_once(tmp_path: Path, entries: dict[str, Any]) -> None:
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        freeze(
            check_job_file({"model": "a/b", **entries}), base=tmp_path, name="job", max_images=10**9, allowed=Allowed()
        )

    assert time.process_time() - began < 20  # of CPU: no measure of speed; listing them would take hours
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cap", [1, 7, 10**9, 2**63])
def test_the_cap_is_exact(tmp_path: Path, cap: int) -> None:
    def job(count: int) -> object:
        raw = {"model": "a/b", "axes": {"prompt": ["a"], "seed": {"derive": count}}}
        return freeze(check_job_file(raw), base=tmp_path, name="job", max_images=cap, allowed=Allowed())

    assert job(min(cap, 10**15))
    with pytest.raises(UserError):
        job(cap + 1)


SCRIPT = """
import resource, sys; from pathlib import Path
from storage.errors import UserError
from storage.spec import Job, check_job_file, freeze
from storage.spec.file.allowed import Allowed
raw = {"model": "a/b", "axes": {"prompt": ["a"] * 1000, "seed": {"count": 10**6}}}
freeze(check_job_file({**raw, "axes": {"prompt": ["a"]}}), base=Path("."), name="j", max_images=9, allowed=Allowed())
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 2**20,) * 2)
job = Job(freeze(check_job_file(raw), base=Path("."), name="j", max_images=10**9, allowed=Allowed()))
print(len(job), job[999_999_999].values["seed"])
for count in (10**7, 10**12, 10**15):
    huge = {**raw, "axes": {**raw["axes"], "seed": {"count": count}}}
    try:
        freeze(check_job_file(huge), base=Path("."), name="j", max_images=10**9, allowed=Allowed())
    except UserError:
        print("refused")
"""


def test_a_job_of_any_size_costs_no_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=60,
        cwd=Path(__file__).resolve().parent.parent,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["1000000000", "999999", "refused", "refused", "refused"]
