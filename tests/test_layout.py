"""What keeps the rooms apart: sizes of files, names of packages, directions of imports."""

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("storage", "dispatcher", "worker")
MAX_LINES = 300


def test_no_file_is_longer_than_three_hundred_lines() -> None:
    files = [file for room in (*ROOMS, "tests") for file in (ROOT / room).rglob("*.py")]

    long = {
        str(file.relative_to(ROOT)): lines
        for file in files
        if (lines := len(file.read_text().splitlines())) > MAX_LINES
    }

    assert long == {}


def test_no_other_distribution_claims_a_room() -> None:
    claims = set()
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower()
        for file in distribution.files or []:
            if name != "seedfarm" and file.parts[0] in (*ROOMS, *(f"{room}.py" for room in ROOMS)):
                claims.add((name, file.parts[0]))

    assert claims == set()


def test_no_folder_of_tests_is_called_after_a_room() -> None:
    assert not any((ROOT / "tests" / room).exists() for room in ROOMS)


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    if not lint.exists():
        pytest.skip("import-linter is not installed")

    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        pytest.param("dispatcher.cli", {"torch", "diffusers", "celery", "sqlalchemy", "boto3"}, id="farm"),
        pytest.param("worker.cli", {"torch", "diffusers", "transformers", "sqlalchemy"}, id="farm-worker"),
    ],
)
def test_a_command_starts_light(module: str, heavy: set[str]) -> None:
    script = f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert heavy & set(json.loads(done.stdout)) == set()
