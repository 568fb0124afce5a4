"""Stored pictures are read again and rendered again, on a farm of real processes with the fake renderer."""

import json
from pathlib import Path

import pytest

from replay_desk import Rendered, Typing, copy_of, render, stained


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return render(tmp_path_factory.mktemp("replay"))


@pytest.fixture
def farm(
    rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typing:
    return Typing(copy_of(rendered, tmp_path), monkeypatch, capsys)


def test_a_job_that_is_whole_is_all_that_was_recorded(farm: Typing) -> None:
    ended = farm("verify", "desk")

    assert ended.returncode == 0
    assert "12 of 12 images made" in ended.stdout
    assert "the pixels of 12" in ended.stdout
    assert ended.stdout.endswith("all are what was recorded\n")


def test_every_way_of_spoiling_a_file_is_found_and_named(farm: Typing) -> None:
    data = farm.file(1).read_bytes()
    farm.file(1).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    farm.file(4).write_bytes(farm.file(4).read_bytes()[:-9])
    farm.file(7).unlink()

    ended = farm("verify", "desk", "--json")

    said = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert [(fault["image_id"].rpartition("/")[2], fault["kind"]) for fault in said["faults"]] == [
        ("1", "hash"), ("4", "size"), ("7", "missing"),
    ]  # fmt: skip
    assert (said["made"], said["read"], said["decoded"]) == (12, 11, 9)
    assert "image 4: size: " in farm("verify", "desk", "--bytes-only").stdout


def test_a_sample_is_rendered_again_and_a_spoiled_picture_gets_a_grade_below_a(farm: Typing) -> None:
    before = farm.objects() - {farm.file(7)}
    farm.file(2).write_bytes(stained(farm.file(2).read_bytes()))
    farm.file(5).write_bytes(b"no picture")
    farm.file(7).unlink()
    farm.file(9).write_bytes(farm.file(8).read_bytes())

    ended = farm("verify", "desk", "--replay", "12", "--json", "--expect", "A")

    said = json.loads(ended.stdout)
    grades = {int(one["image"]): one["grade"] for one in said["images"]}
    reasons = {int(one["image"]): one["reasons"] for one in said["images"]}
    assert ended.returncode == 1
    assert {number for number, grade in grades.items() if grade == "A"} == set(range(12)) - {2, 5, 7, 9}
    assert {grades[number] for number in (5, 7, 9)} == {"C"}
    assert grades[2] in ("B", "C")
    assert ": it cannot be read as a picture;" in reasons[5][0]
    assert ": it is gone;" in reasons[7][0]
    for number in (2, 5, 7, 9):
        assert reasons[number][0].startswith("the stored file is not what was recorded"), reasons[number]
        assert "rendered again, it has the recorded pixels" in reasons[number][0]
    assert said["below"] == 4
    assert farm.objects() == before, "the replay took everything along that it had brought"
    assert len(farm.json("ls", "--json")) == 1


def test_the_table_of_grades_says_what_could_not_be_compared(farm: Typing) -> None:
    farm.file(7).unlink()

    ended = farm("verify", "desk", "--replay", "12")

    assert ended.stdout.splitlines()[1:] == [
        "grade  images  is",
        "A          11  same pixels",
        "B           0  PSNR of 40 dB or more",
        "C           1  same recipe, other pixels",
        "D           0  not replayable",
        "worst PSNR: none, all pixels that can be compared are equal",
        "  C: 1 x the stored file is not what was recorded: it is gone; rendered again, it has the recorded pixels",
    ]


def test_a_lost_picture_that_is_to_be_copied_is_told_with_the_way_out(farm: Typing) -> None:
    farm.file(7).unlink()

    ended = farm("image", "desk", "7", "--to", "seven.png")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert "; 'farm rerun' renders it again, 'farm fsck' finds all that are lost\n" in ended.stderr


def test_a_picture_whose_model_has_other_bytes_now_is_not_replayable(farm: Typing) -> None:
    source = json.loads(farm("image", "desk", "3").stdout)["models"]["model"]["source"]
    was = Path(source, "fake.json").read_text()
    Path(source, "fake.json").write_text('{"width": 32, "height": 32, "blank_seeds": [1]}')
    try:
        ended = farm("verify", "desk", "--replay", "3")
    finally:
        Path(source, "fake.json").write_text(was)

    assert ended.returncode == 1
    assert "D           3  not replayable" in ended.stdout
    assert "model model is sha256:" in ended.stdout
    assert "3 of 3 images are below grade B" in ended.stderr


def test_one_image_is_rendered_again_byte_for_byte_from_its_job_and_from_its_file(farm: Typing) -> None:
    kept = farm.folder / "kept.png"
    kept.write_bytes(farm.file(3).read_bytes())

    by_job = farm("rerun", "desk", "3")
    by_file = farm("rerun", "kept.png", "--to", "again.png")

    assert (by_job.returncode, by_file.returncode) == (0, 0)
    assert "image 3 of desk" in by_job.stdout
    assert "grade A, same pixels" in by_job.stdout
    assert (farm.folder / "desk-3-rerun.png").read_bytes() == kept.read_bytes()
    assert (farm.folder / "again.png").read_bytes() == kept.read_bytes()


def test_what_a_file_says_of_itself_is_enough_where_its_job_is_forgotten(farm: Typing) -> None:
    kept = farm.folder / "kept.png"
    kept.write_bytes(farm.file(3).read_bytes())
    source = farm.json("image", "desk", "3")["models"]["model"]["source"]
    (farm.folder / "other.yaml").write_text(f"{{name: other, model: {source}, prompt: x, steps: 1}}")
    assert farm("run", "other.yaml", "--plain").returncode == 0
    assert farm("rm", "desk", "--yes", "--now").returncode == 0

    ended = farm("rerun", "kept.png")

    assert ended.returncode == 0, ended.stderr
    assert "kept.png, by what it says: grade A, same pixels" in ended.stdout
    assert (farm.folder / "kept-rerun.png").read_bytes() == kept.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["rerun", "nothing.png"], "nothing.png: no such file", id="no file"),
        pytest.param(["rerun", "desk", "99"], "image '99'", id="no such number"),
        pytest.param(["rerun", "desk", "1.1"], "image '1.1'", id="no such take"),
        pytest.param(["rerun", "desk", "x"], "NUMBER = 'x'", id="no number"),
        pytest.param(["rerun", "job.txt"], "job.txt", id="no picture"),
        pytest.param(["rerun", "blank.png"], "does not say how it came to be", id="stranger"),
        pytest.param(["rerun", "."], ".: is a folder; give a picture in it", id="folder"),
        pytest.param(["verify", "nobody"], "job 'nobody'", id="no such job"),
        pytest.param(["verify", "desk", "--expect", "A"], "--expect: is about --replay N; add it", id="no replay"),
        pytest.param(["verify", "desk", "-v"], "--verbose: is about --replay N; add it", id="nothing to name"),
        pytest.param(
            ["verify", "desk", "--replay", "2", "--bytes-only"], "--bytes-only: looks at stored files", id="both looks"
        ),
    ],
)
def test_what_cannot_be_verified_is_refused_by_name(farm: Typing, arguments: list[str], says: str) -> None:
    from PIL import Image

    (farm.folder / "job.txt").write_text("x")
    Image.new("RGB", (64, 64), (1, 2, 3)).save(farm.folder / "blank.png")

    ended = farm(*arguments)

    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
