"""Images from before perceptual hashes were recorded: nothing passes over them in silence, and verify makes theirs."""

import json
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select, update

from replay_desk import Rendered, Typing, copy_of, render
from storage.sql import Database
from storage.sql.tables import chunk, image


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    says = {"width": 128, "height": 128, "output": {"format": "jpeg"}, "axes": {"seed": {"count": 4}}, "prompt": "a"}
    return render(tmp_path_factory.mktemp("old"), **says)


@pytest.fixture
def farm(
    rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typing:
    """A farm whose first three images are of an older one."""
    made = Typing(copy_of(rendered, tmp_path), monkeypatch, capsys)
    database = Database(f"sqlite:///{made.home / 'farm.sqlite'}")
    with database.write() as connection:
        connection.execute(update(image).where(image.c.number < 3).values(phash=None))
        connection.execute(update(chunk).values(noted=True))
    database.close()
    return made


def hashes(farm: Typing) -> tuple[list[str | None], bool]:
    """Perceptual hashes by number, and whether the store is to be told of any chunk once more."""
    database = Database(f"sqlite:///{farm.home / 'farm.sqlite'}")
    with database.read() as connection:
        found = list(connection.execute(select(image.c.phash).order_by(image.c.number)).scalars())
        noted = set(connection.execute(select(chunk.c.noted).where(chunk.c.kind == "render")).scalars())
    database.close()
    return found, False in noted


def small(farm: Typing, folder: Path) -> Path:
    """Picture 1, smaller and saved anew."""
    file = folder / "small.png"
    Image.open(farm.file(1)).convert("RGB").resize((72, 72)).save(file)
    return file


def test_a_search_by_looks_says_how_many_it_could_not_look_at(farm: Typing, tmp_path: Path) -> None:
    ended = farm("image", str(small(farm, tmp_path)))

    assert json.loads(ended.stdout)["unmeasured"] == 3
    assert ended.stderr.endswith(
        "note: 3 images of the farm have no perceptual hash, as older farms made none; './farm verify JOB' makes them\n"
    )
    assert farm("image", str(farm.file(1))).stderr == ""  # found by its bytes: nothing was passed over


def test_an_audit_says_so_too(farm: Typing) -> None:
    said = farm("audit", "desk").stdout

    assert "3 images without a perceptual hash, as older farms made none: not looked at" in said


def test_verify_makes_the_hashes_that_are_missing(farm: Typing, rendered: Rendered, tmp_path: Path) -> None:
    assert farm.json("verify", "desk", "--bytes-only", "--json")["measured"] == 0

    said, again = farm("verify", "desk").stdout, farm.json("verify", "desk", "--json")

    assert "3 images had no perceptual hash, as older farms made none; recorded now\nall are what was rec" in said
    assert (again["measured"], again["faults"]) == (0, [])
    assert hashes(farm) == ([rendered.rows[number].phash for number in range(4)], True)
    found = farm.json("image", str(small(farm, tmp_path)))
    assert (found["found"]["by"], found["unmeasured"]) == ("looks", 0)
    assert found["found"]["image_id"].endswith("/1")


def test_a_file_of_other_bytes_is_not_measured(farm: Typing) -> None:
    farm.file(1).write_bytes(farm.file(3).read_bytes())

    said = farm.json("verify", "desk", "--json")

    assert (said["measured"], len(said["faults"])) == (2, 1)
    assert hashes(farm)[0][1] is None
