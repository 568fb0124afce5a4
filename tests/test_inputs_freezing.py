"""Input images in a job file: by path, folder, pattern, address and hash; and what is said of those that do not fit."""

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from input_pictures import bomb, encoded, photograph, png, quarters, write
from storage.errors import InvalidSpec, UnreadableFile, UserError
from storage.settings import INPUT_BYTES, INPUT_PIXELS, Settings
from storage.spec import Spec, check_job_file, freeze
from storage.spec.file.allowed import Allowed
from storage.spec.file.inputs import InputImages
from storage.spec.file.jobfile import FolderSource, GlobSource
from storage.spec.file.reading import parse_yaml

CAPS = Allowed(input_pixels=10_000, input_bytes=20_000)


def name_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def frozen(folder: Path, *, allowed: Allowed = CAPS, **entries: Any) -> Spec:
    raw = {"model": "owner/name", "prompt": "a fox", "mode": "image-to-image", **entries}
    return freeze(check_job_file(raw), base=folder, name="job", max_images=10**6, allowed=allowed)


def values(spec: Spec, key: str) -> list[Any]:
    (axis,) = [dimension for dimension in spec.dimensions if key in dimension.keys]
    return [axis.at(place).values[key] for place in range(len(axis))]


def refusal(folder: Path, given: object, *, allowed: Allowed = CAPS) -> str:
    with pytest.raises(UserError) as caught:
        InputImages(folder, allowed).take(given, path="init_image")
    return str(caught.value)


def names(folder: Path, pattern: str) -> list[str]:
    found = InputImages(folder, CAPS).find(GlobSource(glob=pattern), path="axes.mask")
    return [str(file.relative_to(folder)) for file in found]


def test_a_job_names_a_picture_by_the_hash_of_its_file(tmp_path: Path) -> None:
    data = encoded(quarters(), "JPEG")
    write(tmp_path / "pictures" / "fox.jpg", data)

    spec = frozen(tmp_path, init_image="pictures/fox.jpg")

    assert spec.fixed["init_image"] == name_of(data)
    facts = {"name": "fox.jpg", "width": 48, "height": 32, "bytes": len(data), "format": "JPEG"}
    assert spec.inputs == {name_of(data): facts}
    assert spec.files == {name_of(data): str(tmp_path / "pictures" / "fox.jpg")}


def test_the_place_of_a_file_does_not_change_the_spec(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        write(tmp_path / folder / "a.png", png())

    specs = [frozen(tmp_path / folder, init_image="a.png") for folder in ("here", "there")]

    assert specs[0].hash == specs[1].hash
    assert "a.png" not in str(specs[0].to_json()["fixed"])


def test_a_folder_is_an_axis_in_the_order_of_people(tmp_path: Path) -> None:
    shades = {"img10.png": 10, "img2.png": 2, "IMG1.PNG": 1, "img02.png": 3}
    for name, shade in shades.items():
        write(tmp_path / "p" / name, png(shade))
    for other in ("notes.txt", ".hidden.png", "._img1.png", "old.gif", "deeper/x.png"):
        write(tmp_path / "p" / other, b"anything")
    (tmp_path / "p" / "folder.png").mkdir()

    spec = frozen(tmp_path, axes={"init_image": {"folder": "p"}})

    assert values(spec, "init_image") == [name_of(png(shade)) for shade in (1, 3, 2, 10)]


def test_a_picture_that_comes_twice_is_one_object(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write(tmp_path / "p" / name, png(7))

    spec = frozen(tmp_path, axes={"init_image": {"folder": "p"}})

    assert values(spec, "init_image") == [name_of(png(7))] * 3
    assert len(spec.inputs) == len(spec.files) == 1


def test_a_pattern_goes_through_folders(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b/10.png", "a/b/9.png", "a/b/9.txt", "c/2.jpg"):
        write(tmp_path / name, png())

    assert names(tmp_path, "a/**/*.png") == ["a/1.png", "a/b/9.png", "a/b/10.png"]
    assert names(tmp_path, "*/*") == ["a/1.png", "c/2.jpg"]
    assert names(tmp_path, str(tmp_path / "c" / "*.jpg")) == ["c/2.jpg"]
    assert names(tmp_path, "a/../c/*.jpg") == ["a/../c/2.jpg"]


def test_the_folder_of_the_job_file_may_have_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    write(tmp_path / "[old] jobs*" / "p" / "a.png", png())

    assert names(tmp_path / "[old] jobs*", "p/*.png") == ["p/a.png"]


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    write(tmp_path / "p" / "a.png", png())
    (tmp_path / "p" / "again").symlink_to(tmp_path / "p", target_is_directory=True)

    assert names(tmp_path, "p/**/*.png") == ["p/a.png"]


def test_rows_and_lists_name_pictures_too(tmp_path: Path) -> None:
    for shade, name in enumerate(("a.png", "b.png")):
        write(tmp_path / name, png(shade))
    (tmp_path / "t.csv").write_text("file,text\na.png,a fox\nb.png,a hare\na.png,an owl\n")
    rows = {"file": "t.csv", "bind": {"init_image": "file", "prompt": "text"}}

    table = frozen(tmp_path, prompt=None, rows=rows)
    listed = frozen(tmp_path, axes={"init_image": ["b.png", "a.png"]})

    assert values(table, "init_image") == [name_of(png(shade)) for shade in (0, 1, 0)]
    assert values(listed, "init_image") == [name_of(png(shade)) for shade in (1, 0)]


def test_a_hash_is_taken_at_its_word_until_submitting(tmp_path: Path) -> None:
    spec = frozen(tmp_path, init_image=name_of(png()))

    assert (spec.inputs, spec.files) == ({name_of(png()): {"name": name_of(png())}}, {})


def test_a_file_tells_more_than_its_hash_wherever_it_stands(tmp_path: Path) -> None:
    write(tmp_path / "a.png", png())

    for order in ([name_of(png()), "a.png"], ["a.png", name_of(png())]):
        spec = frozen(tmp_path, axes={"init_image": order})

        assert spec.inputs[name_of(png())]["name"] == "a.png"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        pytest.param("x.png", b"", "is empty", id="empty"),
        pytest.param("x.png", b"<svg/>", "is no PNG, JPEG, WebP, BMP or TIFF picture; convert it", id="svg"),
        pytest.param("x.png", bomb(), "(FARM_INPUT_PIXELS); make it smaller", id="bomb"),
        pytest.param("x.jpg", encoded(photograph(), "JPEG")[:-500], "is a broken JPEG file", id="truncated"),
        pytest.param("x.png", png(size=(90, 90)) + bytes(20_000), "and 20000 are taken (FARM_INPUT_BYTES)", id="long"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_the_rule(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    write(tmp_path / name, data)

    said = refusal(tmp_path, name)

    assert said.startswith(f"init_image = {name!r}: ")
    assert message in said
    with pytest.raises(UnreadableFile, match=re.escape(str(tmp_path / name))) as caught:
        frozen(tmp_path, axes={"init_image": {"folder": "."}})
    assert str(caught.value).startswith("axes.init_image = ")
    assert message in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "ring.png").symlink_to("ring.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")

    assert "is a folder; pictures of a folder are an axis" in refusal(tmp_path, "folder.png")
    assert "symbolic links" in refusal(tmp_path, "ring.png")
    assert "no such file" in refusal(tmp_path, "gone.png")
    assert "is no ordinary file" in refusal(tmp_path, "pipe.png")
    assert "no such file" in refusal(tmp_path, "none.png")
    assert str(tmp_path) in refusal(tmp_path, "none.png")
    assert refusal(tmp_path, "a\0b.png").isprintable()
    assert "must be text" in refusal(tmp_path, 5)
    assert "must be text" in refusal(tmp_path, "")
    assert len(refusal(tmp_path, "data:image/png;base64," + "A" * 10**6)) < 1000
    for pattern in ("r*g.png", "g*e.png", "p*e.png"):
        with pytest.raises(UnreadableFile, match=pattern.replace("*", ".*")):
            InputImages(tmp_path, CAPS).take_all(GlobSource(glob=pattern), path="axes.mask")


@pytest.mark.parametrize(
    "source", [FolderSource(folder="none"), FolderSource(folder="bare"), GlobSource(glob="*.png"), GlobSource(glob=".")]
)
def test_no_pictures_are_an_error(tmp_path: Path, source: FolderSource | GlobSource) -> None:
    write(tmp_path / "bare" / "notes.txt", b"hello")

    with pytest.raises(UserError, match=r"^axes\.init_image"):
        InputImages(tmp_path, CAPS).take_all(source, path="axes.init_image")


def test_a_folder_fits_pictures_only(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="fits input images only"):
        frozen(tmp_path, mode="text-to-image", prompt=None, axes={"prompt": {"folder": "."}})


def test_a_picture_has_no_place_where_the_mode_takes_none(tmp_path: Path) -> None:
    write(tmp_path / "a.png", png())

    with pytest.raises(InvalidSpec, match="init_image"):
        frozen(tmp_path, mode="text-to-image", init_image="a.png")


def test_a_name_that_no_text_can_hold_does_not_stop_a_job(tmp_path: Path) -> None:
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/p/\xff.png")), png())

    spec = frozen(tmp_path, axes={"init_image": {"folder": "p"}})

    assert spec.inputs[name_of(png())]["name"] == "?.png"
    assert spec.hash


def test_a_folder_of_thousands_freezes_in_seconds_and_keeps_no_pixels(tmp_path: Path) -> None:
    body = png(size=(16, 16))
    for number in range(2000):
        write(tmp_path / "p" / f"{number}.png", body + str(number).encode())

    begun = time.process_time()
    spec = frozen(tmp_path, axes={"init_image": {"folder": "p"}})

    assert time.process_time() - begun < 5
    assert len(spec.inputs) == 2000


def test_the_caps_of_a_spec_are_those_of_the_settings() -> None:
    settings, allowed = Settings(), Allowed()

    assert (settings.input_bytes, settings.input_pixels) == (INPUT_BYTES, INPUT_PIXELS)
    assert (allowed.input_bytes, allowed.input_pixels) == (INPUT_BYTES, INPUT_PIXELS)
    assert settings.allowed_hosts == allowed.input_hosts == frozenset()


def test_the_job_of_the_page_is_a_job(tmp_path: Path) -> None:
    write(tmp_path / "sketches" / "lighthouse.png", png())
    page = (Path(__file__).parents[1] / "docs" / "input-images.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)

    spec = frozen(tmp_path, **parse_yaml(block, where="page"))

    assert list(spec.inputs) == [name_of(png())]
