"""The script `./farm`: installs once, says in one sentence what is missing, passes every word through."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUB = """#!/bin/sh
# A Python that only notes what it is asked to do.
echo "$*" >> "{calls}"
case "$*" in
    *version_info*) exit {old} ;;
    *ensurepip*) exit {no_venv} ;;
    --version) echo "Python 3.99.0" ;;
    "-m venv "*)
        mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
        printf '#!/bin/sh\\necho "home=$FARM_HOME" "$@"\\n' > "$3/bin/farm"
        chmod +x "$3/bin/farm" ;;
    *"pip install"*) exit {pip} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("farm", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def launch(checkout: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, old: int = 0, no_venv: int = 0, pip: int = 0) -> subprocess.CompletedProcess[str]:
        stub = checkout / "python"
        stub.write_text(STUB.format(calls=checkout / "calls", old=old, no_venv=no_venv, pip=pip))
        stub.chmod(0o755)
        env = {name: value for name, value in os.environ.items() if name != "FARM_HOME"} | {"PYTHON": str(stub)}
        return subprocess.run(
            [checkout / "farm", *arguments], env=env, capture_output=True, text=True, check=False, cwd="/"
        )

    return run


def installs(checkout: Path) -> int:
    return (checkout / "calls").read_text().count("-e ")


def test_a_second_call_installs_nothing_and_words_pass_through(
    checkout: Path, launch: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    first = launch("ls", "--json")

    second = launch("submit", "a b.yaml", "--set", "x=1")

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert second.stdout.strip() == f"home={checkout / '.farm'} submit a b.yaml --set x=1"
    assert second.stderr == ""
    assert installs(checkout) == 1


def test_changed_constraints_install_again(
    checkout: Path, launch: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    launch("ls")
    with (checkout / "constraints.txt").open("a") as constraints:
        constraints.write("anything==1\n")

    launch("ls")

    assert installs(checkout) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param({"no_venv": 1}, "python3-venv is missing; type: sudo apt-get install python3-venv", id="no venv"),
        pytest.param({"old": 1}, "is too old: 3.11 or newer is needed", id="old Python"),
        pytest.param({"pip": 1}, "installing failed; the whole log:", id="pip fails"),
    ],
)
def test_what_is_missing_is_one_sentence(
    launch: Callable[..., subprocess.CompletedProcess[str]], fault: dict[str, int], said: str
) -> None:
    ended = launch("demo", **fault)

    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("farm: ")
    assert said in ended.stderr


def test_no_python_at_all_is_one_sentence(checkout: Path) -> None:
    env = dict(os.environ, PYTHON="no-such-python")

    ended = subprocess.run([checkout / "farm"], env=env, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == "farm: no no-such-python; type: sudo apt-get install python3 python3-venv\n"
