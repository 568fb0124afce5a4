"""What a user sees: one or two lines for every mistake, the exit codes, and help that is there."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.cli.root import COMMANDS
from farm_desk import Desk
from typed import Ended, typed


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def call(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process, which spares the start of another one."""
    for name, value in desk.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(desk.folder)

    def run(*arguments: str, **variables: str) -> Ended:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return typed(capsys, *arguments)

    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"stepz": 3}, "stepz = 3: unknown key; did you mean 'steps'?", id="unknown key"),
        pytest.param({"steps": "many"}, "steps = 'many': must be a whole number", id="wrong type"),
        pytest.param({"steps": 0}, "steps = 0: must be at least 1", id="out of range"),
        pytest.param({"width": 500}, "width = 500: must be divisible by 8", id="off the grid"),
        pytest.param({"axes": {"sed": [1], "prompt": ["x"]}}, "did you mean 'seed'?", id="unknown axis"),
        pytest.param({"axes": {"prompt": []}}, "axes.prompt = []: must not be empty", id="empty axis"),
        pytest.param({"scheduler": "dimm", "axes": {"prompt": ["x"]}}, "did you mean 'ddim'?", id="unknown scheduler"),
        pytest.param(
            {"scheduler": {"name": "ddim", "use_karras_sigmas": True}, "axes": {"prompt": ["x"]}},
            "scheduler.use_karras_sigmas = True: unknown option of ddim", id="unknown scheduler option",
        ),
        pytest.param({"axes": {"prompt": {"file": "gone.txt"}}}, "gone.txt: no such file", id="missing file"),
        pytest.param({"model": "no-such-folder"}, "model = 'no-such-folder': no such name", id="missing model folder"),
        pytest.param(
            {"axes": {"prompt": ["x"], "seed": {"start": 0, "count": 10**12}}},
            "axes = 1000000000000: images in one job; the cap is 1000000000 (FARM_MAX_IMAGES)", id="a trillion images",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "submit", "run"])
def test_a_bad_job_file_is_refused_in_one_line(
    desk: Desk, call: Callable[..., Ended], command: str, change: dict[str, object], said: str
) -> None:
    file = desk.write_job(**change)

    ended = call(command, str(file))

    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert json.loads(call("ls", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["submit", "gone.yaml"], "gone.yaml: no such file", id="no file"),
        pytest.param(["submit", "."], ".: is a directory", id="a folder"),
        pytest.param(["submti"], "no command 'submti'; did you mean 'submit'?", id="unknown command"),
        pytest.param(["run"], "FILE: missing; give a job file, or -m MODEL -p PROMPT", id="nothing to run"),
        pytest.param(["run", "-m", "model", "-p", "x", "--size", "12"], "--size = '12': must be", id="bad size"),
        pytest.param(["show", "nothing"], "job 'nothing': unknown; there are none yet", id="unknown job"),
        pytest.param(["watch"], "job '@last': unknown; there are none yet", id="no last job"),
        pytest.param(["sheet", "--pick", "seed"], "--pick = 'seed': must be FIELD=VALUE", id="bad pick"),
    ],
)
def test_a_bad_command_is_refused_in_one_line(
    desk: Desk, call: Callable[..., Ended], arguments: list[str], said: str
) -> None:
    ended = call(*arguments)

    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 2


def test_broken_yaml_is_told_by_line(desk: Desk, call: Callable[..., Ended]) -> None:
    file = desk.folder / "job.yaml"
    file.write_text("name: x\naxes: [1, 2\nsteps: 3\n")

    ended = call("check", str(file))

    assert ended.returncode == 2
    assert "job.yaml, line 3" in ended.stderr


@pytest.mark.parametrize(
    ("variables", "said", "code"),
    [
        pytest.param({"FARM_CHUNKS": "3"}, "FARM_CHUNKS: unknown; did you mean 'FARM_CHUNK_S'?", 2, id="unknown"),
        pytest.param({"FARM_CHUNK_S": "soon"}, "FARM_CHUNK_S = 'soon':", 2, id="no number"),
        pytest.param({"FARM_STORE_URL": "ftp://x"}, "FARM_STORE_URL = 'ftp://x':", 2, id="store of no kind"),
        pytest.param({"FARM_DATABASE_URL": "mysql://x"}, "FARM_DATABASE_URL = 'mysql://x':", 2, id="other database"),
        pytest.param(
            {"FARM_DATABASE_URL": "postgresql+psycopg://u:secret@127.0.0.1:1/x"},
            "postgresql+psycopg://u:***@127.0.0.1:1/x does not answer", 1, id="database away",
        ),
        pytest.param(
            {"FARM_STORE_URL": "s3://bucket", "FARM_S3_ENDPOINT": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "k",
             "AWS_SECRET_ACCESS_KEY": "s"},
            "object store s3://bucket at 127.0.0.1:1 does not answer", 1, id="store away",
        ),
    ],
)  # fmt: skip
def test_a_setting_or_part_that_is_wrong_is_named(
    desk: Desk, call: Callable[..., Ended], variables: dict[str, str], said: str, code: int
) -> None:
    file = desk.write_job()

    ended = call("submit", str(file), **variables)

    assert ended.returncode == code, ended.stdout + ended.stderr
    assert said in ended.stderr
    assert "secret" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_doctor_names_the_broker_that_is_away(desk: Desk, call: Callable[..., Ended]) -> None:
    ended = call("doctor", FARM_BROKER_URL="redis://:secret@127.0.0.1:1/0")

    assert ended.returncode == 1
    assert "redis://:***@127.0.0.1:1/0 does not answer" in ended.stdout
    assert "ok    database" in ended.stdout


def test_a_home_that_cannot_be_made_is_named(desk: Desk, call: Callable[..., Ended]) -> None:
    (desk.folder / "file").write_text("")

    ended = call("ls", FARM_HOME=str(desk.folder / "file" / "home"))

    assert ended.returncode == 2
    assert ended.stderr.startswith("farm: FARM_HOME =")


def test_flower_names_a_port_that_is_taken(desk: Desk) -> None:
    desk.env["FARM_BROKER_URL"] = "redis://127.0.0.1:1/0"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        ended = desk.farm("flower", "--port", str(port))

    assert ended.returncode == 1
    assert f"127.0.0.1:{port} is taken by another program; stop it or change --port" in ended.stderr


def test_two_images_of_one_name_are_refused(desk: Desk) -> None:
    assert desk.farm("run", str(desk.write_job()), "--plain").returncode == 0

    ended = desk.farm("images", "@last", "--to", "all", "--name", "{scheduler}.png")

    assert ended.returncode == 2
    assert "would share this name; add {number} to --name" in ended.stderr


def test_check_tells_the_job_and_queues_nothing(desk: Desk, call: Callable[..., Ended]) -> None:
    file = desk.write_job()

    ended = call("check", str(file), "--set", "steps=7", "--set", "axes.seed={start: 3, count: 2}", "--json")

    said = json.loads(ended.stdout)
    assert said["images"] == 12
    assert (said["first"]["seed"], said["last"]["seed"], said["first"]["steps"]) == (3, 4, 7)
    assert json.loads(call("ls", "--json").stdout) == []


def test_check_names_models_and_settings_in_short_words(desk: Desk, call: Callable[..., Ended]) -> None:
    (desk.folder / "ink").mkdir()
    changes = {"loras": [{"model": "./ink", "scale": 0.5}], "scheduler": "Euler a", "cfg_cutoff": 0.6}
    file = desk.write_job(**changes, prompt="a fox", axes={"seed": {"count": 2}})

    ended = call("check", str(file))

    assert f"lora    ./ink ({desk.folder / 'ink'})" in ended.stdout
    assert '"loras": "ink:0.5"' in ended.stdout
    assert '"scheduler": "euler_a"' in ended.stdout
    assert "null" not in ended.stdout


def test_check_cuts_a_long_prompt_on_the_screen_and_only_there(desk: Desk, call: Callable[..., Ended]) -> None:
    prompt = "a fox " * 2000
    file = str(desk.write_job(axes={"prompt": [prompt]}))

    screen, document = call("check", file), call("check", file, "--json")

    assert max(map(len, screen.stdout.splitlines())) < 400
    assert json.loads(document.stdout)["first"]["prompt"] == prompt


@pytest.mark.parametrize("command", ["check", "submit"])
def test_what_may_be_a_mistake_is_noted_beside_the_answer(desk: Desk, call: Callable[..., Ended], command: str) -> None:
    file = desk.write_job(axes={"prompt": ["a (red:1.3) fox", "a fox"]})

    ended = call(command, str(file), "--json")

    assert ended.returncode == 0
    assert json.loads(ended.stdout)["images"] == 2
    assert ended.stderr.startswith("note: 1 prompt weighs words, such as 'a (red:1.3) fox'; ")


def test_a_job_needs_no_file_and_a_sample_spreads(desk: Desk) -> None:
    quick = desk.farm("run", "-m", "model", "-p", "a fox", "--seeds", "3", "--steps", "2", "--plain", "--out", "quick")
    sample = desk.farm("check", str(desk.write_job()), "--sample", "5")

    assert quick.returncode == 0, quick.stderr
    assert len(list((desk.folder / "quick").glob("00*.png"))) == 3
    assert sample.returncode == 0, sample.stderr
    assert len(desk.images("desk-sample")) == 5


def test_init_writes_a_file_that_check_takes(desk: Desk, call: Callable[..., Ended]) -> None:
    assert call("init", "mine.yaml").returncode == 0

    ended = call("check", "mine.yaml")

    assert ended.returncode == 0, ended.stderr
    assert "16 images" in ended.stdout
    assert call("init", "mine.yaml").returncode == 2


def test_schema_and_schedulers_are_json_for_scripts(desk: Desk, call: Callable[..., Ended]) -> None:
    schema = json.loads(call("schema").stdout)
    schedulers = json.loads(call("schedulers", "--json").stdout)

    assert {"axes", "rows", "plan", "previews"} <= set(schema["properties"])
    assert {"ddim", "euler_a", "dpmpp_2m", "unipc"} <= {kind["name"] for kind in schedulers}


def test_every_command_has_help(desk: Desk, call: Callable[..., Ended]) -> None:
    listing = call("--help").stdout
    assert "\n  first look      farm demo\n" in listing

    for command in COMMANDS:
        assert f"\n  {command} " in listing
        ended = call(command, "--help")
        assert ended.returncode == 0
        assert len(ended.stdout.splitlines()) > 4, command


def test_completion_knows_the_commands(desk: Desk) -> None:
    env = desk.env | {"_FARM_COMPLETE": "bash_complete", "COMP_WORDS": "farm s", "COMP_CWORD": "1"}

    ended = subprocess.run([Path(sys.executable).parent / "farm"], env=env, capture_output=True, text=True, check=False)

    assert {"plain,submit", "plain,show", "plain,sheet"} <= set(ended.stdout.split())


def test_importing_the_command_loads_nothing_heavy() -> None:
    code = (
        "import sys, dispatcher.cli; print([m for m in ('torch', 'celery', 'sqlalchemy', 'boto3') if m in sys.modules])"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )

    assert ended.stdout.strip() == "[]"
