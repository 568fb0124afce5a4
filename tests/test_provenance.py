"""How an image came to be is told by its number and by its file, whatever became of the file's metadata."""

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dispatcher.provenance import finding
from dispatcher.provenance.columns import NAMES
from dispatcher.provenance.document import PROVENANCE_SCHEMA
from dispatcher.provenance.finding import FAR, Candidate
from replay_desk import Rendered, Typing, render


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    big = {"axes": {"prompt": {"template": "a {what}", "values": {"what": ["fox", "owl"]}}, "seed": {"derive": 2}}}
    return render(tmp_path_factory.mktemp("provenance"), width=128, height=128, **big)


@pytest.fixture
def farm(rendered: Rendered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typing:
    return Typing(rendered, monkeypatch, capsys)


def test_an_image_is_told_with_all_that_is_kept_of_it(farm: Typing) -> None:
    said, row = farm.json("image", "desk", "3"), farm.rows[3]

    assert said["schema"] == PROVENANCE_SCHEMA
    assert said["image_id"] == f"{row.job}/3"
    assert (said["number"], said["take"], said["parent"], said["linked_from"]) == (3, 0, None, None)
    assert said["prompt"] == {
        "text": "a owl", "negative": None, "template": "a {what}", "bindings": {"what": "owl"}, "truncated": False,
    }  # fmt: skip
    assert said["noise"] == {
        "seed": str(row.seed), "replicate": 1, "generator": "cpu, one per image", "dtype": "float32",
        "size": [128, 128],
    }  # fmt: skip
    assert said["recipe_hash"] == row.recipe_hash
    assert (said["plan"]["batch"], said["batch"]) == (4, 4)
    assert said["environment"]["pillow"]
    assert said["output"]["format"] == "png"
    assert said["quality"] == {"phash": row.phash, "scores": {}, "rejected": None}
    assert said["models"]["model"]["digest"] == row.model_digest
    assert said["file"]["sha256"] == row.sha256
    assert said["run"]["worker"] == row.worker


def test_names_that_the_document_and_the_flat_row_share_are_one_schema(farm: Typing) -> None:
    said = farm.json("image", "desk", "0")

    shared = set(said) & NAMES
    assert {
        "image_id",
        "number",
        "take",
        "parent",
        "linked_from",
        "recipe",
        "recipe_hash",
        "plan",
        "plan_hash",
        "batch",
    } <= shared


def test_an_image_is_found_by_its_file_and_the_file_agrees(farm: Typing) -> None:
    said = farm.json("image", str(farm.file(2)))

    assert (said["found"]["by"], said["found"]["image_id"]) == ("file", f"{farm.rows[2].job}/2")
    assert said["agrees"] is True
    assert said["file_says"]["record"]["recipe"] == said["image"]["recipe"]


def test_an_image_is_found_after_its_metadata_were_stripped(farm: Typing, tmp_path: Path) -> None:
    bare = tmp_path / "bare.png"
    Image.open(farm.file(2)).convert("RGB").save(bare)

    said = farm.json("image", str(bare))

    assert (said["found"]["by"], said["found"]["image_id"]) == ("pixels", f"{farm.rows[2].job}/2")
    assert (said["file_says"]["record"], said["agrees"]) == (None, None)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_an_image_is_found_after_it_was_encoded_again_and_made_smaller(
    farm: Typing, tmp_path: Path, suffix: str
) -> None:
    small = tmp_path / f"small.{suffix}"
    Image.open(farm.file(1)).convert("RGB").resize((72, 72)).save(small, quality=70)

    said = farm.json("image", str(small), "--to", str(tmp_path / "true.png"))

    nearest, *others = said["found"]["candidates"]
    assert (said["found"]["by"], nearest["image_id"]) == ("looks", f"{farm.rows[1].job}/1")
    assert nearest["distance"] <= 6
    assert all(other["distance"] >= nearest["distance"] for other in others)
    assert (tmp_path / "true.png").read_bytes() == farm.file(1).read_bytes()


def test_a_file_that_bears_the_record_of_another_picture_is_told(farm: Typing, tmp_path: Path) -> None:
    forged, record = tmp_path / "forged.png", Image.open(farm.file(0)).text["seedfarm"]  # type: ignore[attr-defined]
    text = PngInfo()
    text.add_itxt("seedfarm", record)
    Image.open(farm.file(3)).convert("RGB").save(forged, pnginfo=text)

    said = farm.json("image", str(forged))

    assert said["found"]["image_id"] == f"{farm.rows[3].job}/3"
    assert said["file_says"]["recipe_hash"] == farm.rows[0].recipe_hash
    assert said["agrees"] is False


def test_a_record_that_nothing_else_speaks_for_proves_nothing(farm: Typing, tmp_path: Path) -> None:
    pasted, text = tmp_path / "pasted.png", PngInfo()
    text.add_itxt("seedfarm", Image.open(farm.file(0)).text["seedfarm"])  # type: ignore[attr-defined]
    Image.effect_mandelbrot((64, 64), (-3, -2.5, 2, 2.5), 100).convert("RGB").save(pasted, pnginfo=text)

    said = farm.json("image", str(pasted))

    (claimed,) = said["found"]["candidates"]
    assert (said["found"]["by"], claimed["image_id"]) == ("record", f"{farm.rows[0].job}/0")
    assert claimed["distance"] > FAR
    assert said["agrees"] is None
    assert said["found"]["means"].endswith("not known to look like it")


def test_of_many_that_look_alike_it_is_the_one_that_the_record_names(
    farm: Typing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "nearest", lambda *_: ([Candidate(job=farm.rows[1].job, number=1, distance=0)], 1))
    smaller, text = tmp_path / "smaller.png", PngInfo()
    text.add_itxt("seedfarm", Image.open(farm.file(0)).text["seedfarm"])  # type: ignore[attr-defined]
    Image.open(farm.file(0)).convert("RGB").resize((96, 96)).save(smaller, pnginfo=text)

    said = farm.json("image", str(smaller))

    assert (said["found"]["by"], said["found"]["image_id"]) == ("record", f"{farm.rows[0].job}/0")
    assert said["agrees"] is True


def test_a_picture_that_the_farm_does_not_know_is_not_found(farm: Typing, tmp_path: Path) -> None:
    strange = tmp_path / "strange.png"
    Image.effect_mandelbrot((64, 64), (-3, -2.5, 2, 2.5), 100).save(strange)

    ended = farm("image", str(strange))

    assert ended.returncode == 1
    assert json.loads(ended.stdout)["found"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["nothing.png"], "nothing.png: no such file; for an image of a job give its number", id="no file"),
        pytest.param(["."], ".: is a folder; give a picture in it", id="a folder"),
        pytest.param(["job.yaml"], "is no PNG, JPEG, WebP", id="no picture"),
        pytest.param(["desk", "4"], "image '4': unknown; desk has numbers 0 to 3", id="past the end"),
        pytest.param(["desk", "3.1"], "image '3.1': unknown; no such take of image 3", id="no such take"),
        pytest.param(["desk", "three"], "NUMBER = 'three': must be the number of an image", id="no number"),
    ],
)
def test_what_is_no_image_is_refused_by_name(farm: Typing, arguments: list[str], says: str) -> None:
    ended = farm("image", *arguments)

    assert ended.returncode == 2
    assert says in ended.stderr
