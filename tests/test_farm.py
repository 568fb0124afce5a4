"""The whole farm with real processes: one command, both sets of parts, and what happens when something is killed."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.embedded import valkey
from dispatcher.embedded.host import EmbeddedFarm
from dispatcher.embedded.parts import Part
from farm_desk import Desk, descendants, is_alive, wait_until
from storage.settings import Settings

IMAGES = 48  # of the desk's job


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(name: str = "desk", **options: object) -> Desk:
        desks.append(Desk(tmp_path / name, **options))  # type: ignore[arg-type]
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


def test_one_command_renders_a_job_with_nothing_set_up(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    file = desk.write_job(previews={"every": 2})

    ended = desk.farm("run", str(file), "--out", "pictures", "--plain")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = desk.images()
    assert sorted(rows) == list(range(IMAGES))
    desk.check_objects(rows)
    assert len(list((desk.folder / "pictures").glob("*_*.png"))) == IMAGES
    assert (desk.folder / "pictures" / "sheet.html").exists()
    assert "sheet.png" in ended.stdout
    assert not list((desk.home / "store").rglob("*.steps.jpg")), "previews are dropped when recorded"
    pids = [desk.part_pid(part) for part in ("broker", "dispatcher", "workers")]
    assert all(pid is not None and not is_alive(pid) for pid in pids)


def test_the_same_file_again_does_nothing_and_new_starts_another(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    file = desk.write_job()
    assert desk.farm("run", str(file), "--plain").returncode == 0

    again = desk.farm("run", str(file), "--plain")
    queued = desk.farm("submit", str(file), "--new")

    assert again.returncode == 0
    assert "done already; --new renders it again" in again.stdout
    assert "queued: 48 images" in queued.stdout
    assert len(desk.farm("ls", "--json").stdout.split('"id"')) == 3


def test_a_job_links_what_exists_unless_its_file_says_otherwise(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    assert desk.farm("run", str(desk.write_job()), "--plain").returncode == 0
    made = desk.images()

    linked = desk.farm("run", str(desk.write_job(name="linked")), "--plain")
    drawn = desk.farm("run", str(desk.write_job(name="drawn", reuse="off")), "--plain")

    assert (linked.returncode, drawn.returncode) == (0, 0), linked.stdout + drawn.stdout
    links = desk.images("linked")
    assert {number: row.key for number, row in links.items()} == {number: row.key for number, row in made.items()}
    assert {row.linked_number for row in links.values()} == set(made)
    assert all(row.linked_job is None for row in desk.images("drawn").values())


def test_both_sets_of_parts_and_any_number_of_workers_make_the_same_pixels(
    make_desk: Callable[..., Desk], postgres_url: str, broker_url: str, use_s3: Callable[[str], object]
) -> None:
    plan = {"plan": {"batch": 4, "threads": 1}}
    laptop = make_desk("laptop")
    assert laptop.farm("run", str(laptop.write_job(**plan)), "--plain").returncode == 0
    bucket = use_s3("ministack")
    rack = make_desk(
        "rack", FARM_DATABASE_URL=postgres_url, FARM_BROKER_URL=broker_url, FARM_UNREGISTERED_MODELS="yes",
        FARM_STORE_URL=bucket.url, FARM_S3_ENDPOINT=bucket.endpoint,  # type: ignore[attr-defined]
    )  # fmt: skip
    rack.env |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    rack.start_farm("dispatcher")
    rack.start_workers("--devices", "cpu,cpu")
    assert rack.farm("submit", str(rack.write_job(**plan))).returncode == 0

    watched = rack.farm("watch", "@last", "--plain")

    assert watched.returncode == 0, watched.stdout + watched.stderr
    theirs, ours = laptop.images(), rack.images()
    assert {n: row.pixel_sha256 for n, row in ours.items()} == {n: row.pixel_sha256 for n, row in theirs.items()}
    assert {n: row.recipe_hash for n, row in ours.items()} == {n: row.recipe_hash for n, row in theirs.items()}
    rack.check_objects(ours)


@pytest.mark.parametrize("victim", ["device process", "node", "supervisor", "broker", "dispatcher"])
def test_a_killed_part_costs_time_and_no_image(make_desk: Callable[..., Desk], victim: str) -> None:
    desk = make_desk(seconds_per_step=0.2, FARM_CHUNK_S="1", FARM_SILENCE_S="3", FARM_IDLE_LOSS_S="2")
    running = desk.start_farm("run", str(desk.write_job()), "--plain")
    wait_until(lambda: desk.done() >= 4, what="the first images")

    os.kill(_victim(desk, victim), signal.SIGKILL)

    output, _ = running.communicate(timeout=90)
    assert running.returncode == 0, output
    rows = desk.images()
    assert sorted(rows) == list(range(IMAGES))
    assert len({row.key for row in rows.values()}) == IMAGES
    desk.check_objects(rows)


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(seconds_per_step=0.2, FARM_CHUNK_S="1")
    file = desk.write_job()
    running = desk.start_farm("run", str(file), "--plain", "--out", "my pictures")
    wait_until(lambda: desk.done() >= 4, what="the first images")

    running.send_signal(signal.SIGINT)

    output, _ = running.communicate(timeout=40)
    assert running.returncode == 130, output
    assert f"Go on with: ./farm run {file} --out 'my pictures'" in output
    before = desk.images()
    assert 0 < len(before) < IMAGES
    ended = desk.farm("run", str(file), "--plain")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    after = desk.images()
    assert sorted(after) == list(range(IMAGES))
    assert all(after[number].key == row.key for number, row in before.items()), "what was made is not made again"


def test_a_second_ctrl_c_stops_at_once(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(seconds_per_step=60.0)  # a step that is waited for would not end within this test's patience
    running = desk.start_farm("run", str(desk.write_job()), "--plain")
    assert running.stdout is not None
    wait_until(lambda: "0/48" in running.stdout.readline(), what="a farm whose parts have all begun")
    parts = [desk.part_pid(part) for part in ("broker", "dispatcher", "workers")]

    running.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping" in running.stdout.readline(), what="the first answer")
    running.send_signal(signal.SIGINT)

    assert running.wait(timeout=15) == 130
    assert not [pid for pid in parts if pid is not None and is_alive(pid)]


STUBBORN = "trap 'kill -USR1 $PPID' TERM; while :; do sleep 0.05; done"  # answers a wish to end by a signal of its own


def test_a_second_ctrl_c_ends_the_very_part_that_the_first_one_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Part] = []

    def start_part(farm: EmbeddedFarm, name: str) -> None:
        begun.append(Part(name, ["sh", "-c", STUBBORN], home=tmp_path, env=os.environ))
        farm._parts[name] = begun[-1]

    def stop_at_once(*_: object) -> None:
        farm.kill()
        raise SystemExit(130)

    monkeypatch.setattr(EmbeddedFarm, "_start_part", start_part)
    farm = EmbeddedFarm(Settings(home=tmp_path), devices="cpu")
    before = signal.signal(signal.SIGUSR1, stop_at_once)
    try:
        with pytest.raises(SystemExit), farm:
            pass  # its end asks the workers first, and waits for them
    finally:
        signal.signal(signal.SIGUSR1, before)
        left = [part.name for part in begun if part.is_alive]
        for part in begun:
            part.kill()

    assert (len(begun), left) == (3, [])


def test_a_broker_that_is_interrupted_while_it_starts_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    begun: list[Part] = []

    def interrupted(part: Part, _: object) -> None:
        begun.append(part)
        raise KeyboardInterrupt

    monkeypatch.setattr(valkey, "_program", lambda: str(program))
    monkeypatch.setattr(valkey, "_await_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        valkey.start_valkey(valkey.BrokerAddress(port=1, password="x"), home=tmp_path)

    assert [part.is_alive for part in begun] == [False]


def test_a_killed_command_leaves_orphans_that_the_next_one_ends(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(seconds_per_step=0.2, FARM_CHUNK_S="1", FARM_SILENCE_S="3")
    file = desk.write_job()
    running = desk.start_farm("run", str(file), "--plain")
    wait_until(lambda: desk.done() >= 2, what="the first images")
    orphans = [desk.part_pid(part) for part in ("broker", "dispatcher", "workers")]

    running.kill()
    ended = desk.farm("run", str(file), "--plain")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert sorted(desk.images()) == list(range(IMAGES))
    assert not [pid for pid in orphans if pid is not None and is_alive(pid)]


def test_run_joins_a_farm_that_is_up(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    desk.start_farm("up")
    wait_until(lambda: desk.part_pid("workers"), what="the farm")
    workers = desk.part_pid("workers")

    ended = desk.farm("run", str(desk.write_job()), "--plain")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert sorted(desk.images()) == list(range(IMAGES))
    assert desk.part_pid("workers") == workers
    assert workers is not None
    assert is_alive(workers), "the farm that was joined stays up"


def test_cancel_keeps_what_is_made(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(seconds_per_step=0.2, FARM_CHUNK_S="1")
    running = desk.start_farm("run", str(desk.write_job()), "--plain")
    wait_until(lambda: desk.done() >= 2, what="the first images")

    cancelled = desk.farm("cancel", "@last")

    output, _ = running.communicate(timeout=40)
    assert cancelled.returncode == 0, cancelled.stderr
    assert running.returncode == 1
    assert "job desk cancelled" in output
    rows = desk.images()
    assert 2 <= len(rows) < IMAGES
    desk.check_objects(rows)


def test_submit_works_while_the_broker_is_away(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(FARM_BROKER_URL="redis://127.0.0.1:1/0", FARM_UNREGISTERED_MODELS="true")

    done = desk.farm("submit", str(desk.write_job()))

    assert done.returncode == 0, done.stderr
    assert "queued: 48 images" in done.stdout


def test_a_model_that_only_the_worker_can_judge_fails_the_job_once(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    (desk.folder / "empty").mkdir()

    ended = desk.farm("run", str(desk.write_job(model="empty")), "--plain")

    assert ended.returncode == 1
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("farm: job desk failed: model")
    assert desk.images() == {}


def _victim(desk: Desk, name: str) -> int:
    if name in ("broker", "dispatcher"):
        return desk.part_pid(name) or 0
    supervisor = desk.part_pid("workers") or 0
    below = descendants(supervisor)
    return {"supervisor": supervisor, "node": below[0], "device process": _device_process(below)}[name]


def _device_process(below: list[int]) -> int:
    """The pool's child: the one of the node's descendants that was spawned to work."""
    for pid in reversed(below):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        if "spawn_main" in command and "semaphore_tracker" not in command:
            return pid
    listing = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in below]
    raise AssertionError(f"no device process among {listing}")
