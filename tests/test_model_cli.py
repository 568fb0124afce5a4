"""farm model: add, ls, show, pull, rm."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dispatcher.cli import main
from dispatcher.farm import Farm
from model_files import LORA, SD_PARTS, write_json, write_pipeline, write_safetensors
from storage.settings import load_settings
from storage.sql import jobs, registry
from storage.sql.jobs import NewJob


@dataclass(frozen=True)
class Ended:
    """What a command said."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FARM_USER", "me")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main(["model", *words])
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    yield run
    assert not list(tmp_path.glob("*.lock"))


def test_a_folder_is_frozen_listed_shown_fetched_and_forgotten(call: Call, tmp_path: Path) -> None:
    write_pipeline(tmp_path / "sd", SD_PARTS)

    added, again = call("add", "sd-1.5", "sd"), call("add", "sd-1.5", "sd")
    listed, shown, pulled = call("ls"), json.loads(call("show", "sd-1.5", "--json").out), call("pull", "sd-1.5")
    gone, empty = call("rm", "sd-1.5"), call("ls")

    assert added.out.startswith("model sd-1.5 added: checkpoint, StableDiffusionPipeline\n  sha256:")
    assert "100 %" in added.err
    assert "is there already" in again.out
    assert "sd-1.5" in listed.out
    assert (shown["kind"], shown["added_by"], len(shown["files"])) == ("checkpoint", "me", 6)
    assert shown["source"] == f"store:{shown['digest']}"
    assert Path(pulled.out.split(" lies in ")[1].strip()).is_dir()
    assert gone.out.startswith("model sd-1.5 removed")
    assert "no models yet" in empty.out
    assert [one.code for one in (added, again, listed, pulled, gone)] == [0] * 5
    assert list(Farm(load_settings()).store.list("models/")) == []


def test_a_name_stands_for_one_model(call: Call, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", LORA)
    write_safetensors(tmp_path / "b.safetensors", LORA, fill=1)

    codes = [call("add", name, file).code for name, file in (("a", "a.safetensors"), ("same", "a.safetensors"))]
    taken = call("add", "a", "b.safetensors")
    call("rm", "a")
    kept = call("pull", "same")

    assert codes == [0, 0]
    assert (taken.code, kept.code) == (2, 0)
    assert "choose another name, or 'farm model rm a' first" in taken.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["add", "a/b", "x"], "model name 'a/b': must be 1 to 64 of", id="name"),
        pytest.param(["add", ".a", "x"], "begin with none of", id="name with a dot"),
        pytest.param(["add", "a", "gone"], "no such file or folder", id="no file"),
        pytest.param(["add", "a", "lora.safetensors", "--kind", "vae"], "is a lora (sd1), no vae", id="kind"),
        pytest.param(["add", "a", "lora.safetensors", "--path", "x"], "name the file itself", id="path of a file"),
        pytest.param(["add", "a", "old.ckpt"], "is a pickle", id="pickle"),
        pytest.param(["show", "lara"], "model 'lara': unknown; did you mean 'lora'?", id="show"),
        pytest.param(["rm", "lara"], "did you mean 'lora'?", id="rm"),
        pytest.param(["pull", "lara"], "did you mean 'lora'?", id="pull"),
        pytest.param(["shw", "lora"], "no command 'shw'; did you mean 'show'?", id="command"),
    ],
)
def test_a_mistake_costs_a_line(call: Call, tmp_path: Path, words: list[str], said: str) -> None:
    write_safetensors(tmp_path / "lora.safetensors", LORA)
    write_json(tmp_path / "old.ckpt", {})
    call("add", "lora", "lora.safetensors")

    ended = call(*words)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_model_that_an_open_job_names_stays(call: Call, tmp_path: Path) -> None:
    write_json(tmp_path / "fake" / "fake.json", {})
    call("add", "fox", "fake")
    farm = Farm(load_settings())
    with farm.database.read() as connection:
        source = registry.get(connection, "fox").source
    submit(farm, source)

    refused = call("rm", "fox")
    with farm.database.write() as connection:
        jobs.change(connection, "j", state="cancelled")
    gone = call("rm", "fox")

    assert (refused.code, gone.code) == (2, 0)
    assert "is in use by job spring (j); wait for it, or cancel it" in refused.err


def submit(farm: Farm, source: str) -> None:
    """An open job that renders with a source."""
    from storage.spec import Spec

    spec = Spec(name="spring", mode="text-to-image", models={"fox": {"source": source, "kind": "checkpoint"}},
                fixed={}, dimensions=())  # fmt: skip
    farm.specs.save("j", spec)
    row = NewJob(
        id="j", name="spring", user="me", source="", spec_hash=spec.hash, positions=1, images=1, created_at=0.0
    )
    with farm.database.write() as connection:
        jobs.add(connection, row)
