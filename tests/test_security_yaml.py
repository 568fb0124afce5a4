"""Hostile YAML: every bomb is one sentence within a second, at little memory, and nothing in it is run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.errors import UnreadableFile, UserError
from storage.models.layout import inspect
from storage.settings import Settings
from storage.spec import freeze, read_job_file
from storage.spec.file.reading import MAX_FILE_BYTES
from storage.yaml_text import MAX_ADDED, parse_yaml

LIMIT_S = 20.0  # of CPU: no measure of speed; a bomb that goes off takes hours or all memory
RUNS = "model: ./m\nprompt: "
LEVELS = range(1, 30)
BOMBS = {
    "billion laughs": "a0: &a0 lol\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in LEVELS),
    "laughs of mappings": "a0: &a0 {x: y}\n"
    + "".join(f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(9))}}}\n" for n in LEVELS),
    "quadratic laughs": f"a: &a [{'x,' * 20_000}]\nb: [{'*a,' * 20_000}]\n",
    "merges of merges": "a0: &a0 {x: y}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in LEVELS),
    "wide merges": "a: &a {" + ",".join(f"k{n}: 1" for n in range(5000)) + "}\nb:\n" + "- {<<: *a}\n" * 1000,
    "deep flow lists": "a: " + "[" * 100_000,
    "deep flow mappings": "a: " + "{a: " * 50_000,
    "deep block lists": "- " * 50_000 + "x",
    "deep block mappings": "".join(" " * n + "a:\n" for n in range(700)),
    "deep questions": "? " * 20_000,
    "an alias of itself": "a: &a [*a]\n",
    "a mapping that merges itself": "a: &a\n  <<: *a\n",
    "a mapping that is its own key": "&a ? *a : 1\n",
    "aliases that hold each other": "a: &a\n  b: &b\n    c: *a\n    d: *b\n",
    "an anchor as a key": "? &a [1, 2]\n: *a\n",
    "an anchor in a mapping as a key": "{&a {b: 1}: 2, *a : 3}\n",
    "a digit string without end": "a: " + "9" * 1_000_000,
    "a hexadecimal number without end": "a: 0x" + "f" * 1_000_000,
    "a number of sixties": "a: 1" + ":59" * 200_000,
    "a float of sixties": "a: 1" + ":59" * 200_000 + ".5",
    "a binary number without end": "a: 0b" + "1" * 1_000_000,
    "an exponent without end": "a: 1.5e+" + "9" * 100_000,
    "python: a call": "a: !!python/object/apply:os.system ['touch FILE']\n",
    "python: an object": "a: !!python/object/new:subprocess.Popen [['touch', 'FILE']]\n",
    "python: a name": "a: !!python/name:os.system\n",
    "python: a module": "a: !!python/module:antigravity\n",
    "python: a tuple": "a: !!python/tuple [1, 2]\n",
    "python: bytes": "a: !!python/bytes 'AAAA'\n",
    "python: a tag by its full name": "a: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch FILE']\n",
    "python: a tag by a handle": "%TAG !p! tag:yaml.org,2002:python/object/\n---\n"
    "a: !p!apply:os.system ['touch FILE']\n",
    "a tag of nobody": "a: !" + "x" * 100_000 + " y\n",
    "a key given twice": "steps: 1\nsteps: 2\n",
    "a key given twice by quotes": "steps: 1\n'steps': 2\n",
    "a key given twice by escapes": 'steps: 1\n"\\x73teps": 2\n',
    "a merge that overrides": "a: &a {steps: 2}\n<<: *a\n<<: {steps: 3}\nsteps: 1\nx: 1\n",
    "NUL": "prompt: a\0b\n",
    "NUL by an escape": f'{RUNS}"a\\0b"\n',
    "a control character": "prompt: a\x08b\n",
    "half of a surrogate": f'{RUNS}"\\ud800"\n',
    "no month": "a: 2024-13-45\n",
    "a year that is none": "a: 0000-01-01\n",
    "a time beyond time": "a: 9999-12-31T23:59:59.9-23:59\n",
    "an offset of days": "a: 2001-12-14T21:59:43.10-99:99\n",
    "base64 that is none": "a: !!binary '%%%'\n",
    "a set with a list": "a: !!set {? [1] : null}\n",
    "an ordered map that is none": "a: !!omap [1, 2]\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "a directive of another version": "%YAML 3.0\n---\na: 1\n",
    "a directive twice": "%YAML 1.1\n%YAML 1.1\n---\na: 1\n",
    "no end of a quote": "a: '" + "x" * 1_000_000,
    "no end of a comment": "# " + "x" * 1_000_000,
    "quotes in quotes": "a: " + '"\\"' * 100_000,
    "commas": "a: [" + "," * 100_000 + "]",
    "colons": ":" * 100_000,
    "dashes": "-\n" * 3000,
    "anchors alone": "".join(f"a{n}: &x {n}\n" for n in range(3000)) + "b: *y\n",
}
FOREIGN = {
    "UTF-16": "steps: 3\n".encode("utf-16"),
    "UTF-16 without a mark": "steps: 3\n".encode("utf-16-le"),
    "UTF-32": "steps: 3\n".encode("utf-32"),
    "cut in a letter": "prompt: grü"[:-1].encode() + b"\xc3",
    "overlong": b"prompt: \xc0\xaf\n",
    "a surrogate in UTF-8": b"prompt: \xed\xa0\x80\n",
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0",
}


def refusal(file: Path, tmp_path: Path) -> tuple[str, float]:
    """What a user is told of a job file, and after how many seconds."""
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        freeze(read_job_file(file), base=tmp_path, name="job", max_images=Settings().max_images)
    return str(caught.value), time.process_time() - began


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_a_sentence_and_does_not_go_off(tmp_path: Path, bomb: str) -> None:
    file, mark = tmp_path / "job.yaml", tmp_path / "ran"
    file.write_text(bomb.replace("FILE", str(mark)), encoding="utf-8")

    said, took = refusal(file, tmp_path)

    assert "\n" not in said
    assert len(said) < 600
    assert took < LIMIT_S
    assert not mark.exists()


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_bytes_that_are_no_utf_8_are_a_sentence(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(data)

    said, took = refusal(file, tmp_path)

    assert said.startswith(f"{file}")
    assert took < LIMIT_S


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    with file.open("wb") as handle:
        handle.truncate(100 * MAX_FILE_BYTES)

    said, took = refusal(file, tmp_path)

    assert "is larger than 64 MiB" in said
    assert took < LIMIT_S


@pytest.mark.parametrize("source", ["{file: /dev/zero}", "{file: /dev/stdin}", "{file: pipe.txt}"])
def test_a_list_of_values_is_read_from_ordinary_files_only(tmp_path: Path, source: str) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    file = tmp_path / "job.yaml"
    file.write_text(f"model: a/b\naxes: {{prompt: {source}}}\n")

    said, took = refusal(file, tmp_path)

    assert "is no ordinary file" in said
    assert took < LIMIT_S


def test_bombs_cost_little_memory(tmp_path: Path) -> None:
    for place, bomb in enumerate(BOMBS.values()):
        (tmp_path / f"{place}.yaml").write_text(bomb, encoding="utf-8")
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from storage.spec import read_job_file\nfrom storage.errors import UserError\n"
        "import storage.spec.file.freezing\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)\n"
        "for file in sorted(Path(sys.argv[1]).glob('*.yaml')):\n"
        "    try: read_job_file(file)\n"
        "    except UserError: pass\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_written_down_may_be_long_and_aliases_may_be_many() -> None:
    text = "a: &a [1, 2, 3]\nb: [" + "*a, " * 10_000 + "]\nc: [" + "1, " * 50_000 + "]\n"

    found = parse_yaml(text, where="x")

    assert (len(found["b"]), len(found["c"]), found["b"][9_999]) == (10_000, 50_000, [1, 2, 3])


def test_the_limit_counts_what_aliases_add() -> None:
    half = f"a: &a [{'1,' * 1000}]\nb: [{'*a,' * (MAX_ADDED // 1001)}]\n"

    assert len(parse_yaml(half, where="x")["b"]) == MAX_ADDED // 1001
    with pytest.raises(UnreadableFile, match="unpack to more than"):
        parse_yaml(half + "c: *a\nd: [*a, *a]\n", where="x")


@pytest.mark.parametrize("name", ["billion laughs", "merges of merges", "deep flow lists", "python: a call"])
def test_the_note_beside_a_model_is_read_through_the_same_door(tmp_path: Path, name: str) -> None:
    from model_files import SD2, write_safetensors

    model = write_safetensors(tmp_path / "m.safetensors", SD2)
    (tmp_path / "m.yaml").write_text(BOMBS[name].replace("FILE", str(tmp_path / "ran")))

    with pytest.raises(Exception, match="parameterization must be v or eps"):
        inspect(model, None, source=str(model))

    assert not (tmp_path / "ran").exists()
