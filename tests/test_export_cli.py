"""What a user sees of `farm export`: lines, JSON, exit codes; and files that are signed."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from export_desk import ExportDesk
from signers import judged, make_chain
from storage.marks import pixel_sha256
from storage.sql import Database
from typed import Ended, typed

Call = Callable[..., Ended]


@pytest.fixture
def desk(tmp_path: Path) -> ExportDesk:
    home = tmp_path / "home"
    home.mkdir()
    database = Database(f"sqlite:///{home / 'farm.sqlite'}")
    database.prepare()
    return ExportDesk(database, home)


@pytest.fixture
def call(desk: ExportDesk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    monkeypatch.setenv("FARM_HOME", str(desk.folder))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        return typed(capsys, "export", *arguments)

    return run


def test_a_job_becomes_a_folder_and_a_dry_run_says_so_before(desk: ExportDesk, call: Call, tmp_path: Path) -> None:
    job = desk.painted(fail=[3])

    asked = call(job, "--to", "set", "--split", "train=0.5,test=0.5", "--dry-run")
    was_there = (tmp_path / "set").exists()
    ended = call(job, "--to", "set", "--split", "train=0.5,test=0.5", "--plain")
    again = call(job, "--to", "set", "--split", "train=0.5,test=0.5", "--plain")

    assert (asked.returncode, was_there) == (0, False)
    assert asked.stdout.startswith("15 images in 2 shards of up to 10000, ")
    assert "; 1 rejected or failed" in asked.stdout
    assert ended.returncode == 0, ended.stderr
    assert "15 images in 2 shards, " in ended.stdout
    assert "in set; 15 new" in ended.stdout
    assert "1 image is not in it" in ended.stdout
    assert "15/15 images" in ended.stderr
    assert "in set; 0 new" in again.stdout
    assert (tmp_path / "set" / "README.md").read_text().startswith("---")


def test_an_interrupted_export_says_how_to_go_on(desk: ExportDesk, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    job = desk.painted()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dispatcher.export.engine.Exporter.run", interrupted)
    ended = call(job, "--to", "set")

    assert ended.returncode == 130
    assert ended.stderr.strip() == "stopped; the same command goes on behind the last finished shard"


def test_a_model_that_rows_name_by_a_place_on_this_host_is_told(desk: ExportDesk, call: Call, tmp_path: Path) -> None:
    (tmp_path / "sd").mkdir()
    named, placed = desk.painted(), desk.painted(model=str(tmp_path / "sd"))

    quiet, loud = call(named, "--to", "a", "--dry-run"), call(placed, "--to", "b", "--dry-run")

    assert "model add" not in quiet.stderr
    assert f"its rows name the model {tmp_path}/sd as the job file does; './farm model add" in loud.stderr


def test_a_selection_that_leaves_nothing_is_told(desk: ExportDesk, call: Call) -> None:
    job = desk.painted()

    asked = call(job, "--to", "set", "--where", "scheduler = 'nope'", "--dry-run")
    ended = call(job, "--to", "set", "--where", "scheduler = 'nope'")

    assert "no image is done, accepted and selected" in asked.stderr
    assert "no image is done, accepted and selected" in ended.stderr


def test_json_is_one_document(desk: ExportDesk, call: Call) -> None:
    job = desk.painted()

    said = json.loads(call(job, "--to", "set", "--json").stdout)

    assert (said["images"], said["new"], said["shards"], said["jobs"]) == (16, 16, 1, [job])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--where", "sheduler = 'ddim'"], "did you mean 'scheduler'"),
        (["--without", "blury"], "--without = 'blury'"),
        (["--captions"], "--captions: goes with --as folder only"),
        (["--sign", "cert.pem"], "--sign: goes with --sign-key"),
        (["--sign-as", "es384"], "--sign-as: goes with --sign and --sign-key"),
        (["--sign-no-training"], "--sign-no-training: goes with --sign and --sign-key"),
        (["--sign", "x", "--sign-key", "x", "--sign-as", "es265"], "--sign-as = 'es265': is no algorithm of C2PA; did"),
        (["--split", "train=0.9"], "--split"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    desk: ExportDesk, call: Call, tmp_path: Path, options: list[str], said: str
) -> None:
    job = desk.painted()

    ended = call(job, "--to", "set", *options)

    assert ended.returncode == 2
    assert said in ended.stderr
    assert not (tmp_path / "set").exists()


def test_jobs_of_different_formats_are_refused_in_a_sentence(desk: ExportDesk, call: Call) -> None:
    one, other = desk.painted(), desk.submit(output={"format": "jpeg"})

    ended = call(one, other, "--to", "set")

    assert ended.stderr == (
        "farm: JOB: the pictures are jpeg and png, and a data set holds one format; add --format png, jpeg or webp\n"
    )


def test_signed_files_are_trusted_and_show_the_same_pixels(desk: ExportDesk, call: Call, tmp_path: Path) -> None:
    chain = make_chain(ec.SECP256R1())
    (tmp_path / "cert.pem").write_bytes(chain.signing.chain)
    (tmp_path / "key.pem").write_bytes(chain.signing.key)
    job = desk.painted()

    ended = call(job, "--to", "set", "--limit", "2", "--sign", "cert.pem", "--sign-key", "key.pem")

    assert ended.returncode == 0, ended.stderr
    with tarfile.open(tmp_path / "set" / "data" / "train-000000.tar") as tar:
        signed = [tar.extractfile(name).read() for name in tar.getnames() if name.endswith(".png")]  # type: ignore[union-attr]
    stored = [desk.store.get(str(desk.images(job)[number].key)) for number in (0, 1)]
    assert [judged(data, "png", root=chain.root).state for data in signed] == ["Trusted", "Trusted"]
    assert [_pixels(data) for data in signed] == [_pixels(data) for data in stored]


def test_a_certificate_of_another_kind_signs_and_says_more(desk: ExportDesk, call: Call, tmp_path: Path) -> None:
    chain = make_chain(ec.SECP384R1())
    (tmp_path / "cert.pem").write_bytes(chain.signing.chain)
    (tmp_path / "key.pem").write_bytes(chain.signing.key)
    job, words = desk.painted(), ["--as", "folder", "--limit", "1", "--sign", "cert.pem", "--sign-key", "key.pem"]

    refused = call(job, "--to", "a", *words)
    ended = call(job, "--to", "b", *words, "--sign-as", "es384", "--sign-no-training")

    assert "signing: " in refused.stderr
    assert "algorithm es256 (--sign-as)" in refused.stderr
    assert ended.returncode == 0, ended.stderr
    (file,) = (tmp_path / "b").glob("data/train/*.png")
    found = judged(file.read_bytes(), "png", root=chain.root)
    assert found.state == "Trusted"
    assert [part["label"] for part in found.manifest["assertions"]][1:] == ["cawg.training-mining"]


def test_a_job_that_its_rules_have_not_judged_is_told(desk: ExportDesk, call: Call) -> None:
    job = desk.painted(quality={"low_variance": "reject"})

    ended = call(job, "--to", "set", "--dry-run")

    assert f"({job}): its quality rules have not judged all of it; what they reject later stays" in ended.stderr


def _pixels(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as file:
        return pixel_sha256(file.convert("RGB"))
