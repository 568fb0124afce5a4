"""Jobs that say how their files are made: from the job file to the store, the manifest and the gallery."""

import hashlib
import io
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from xxhash import xxh3_64_hexdigest

from farm_desk import Desk
from marked_pictures import PLAN, picture, recipe
from others_reader import read_by_others
from storage.blobs import open_store
from storage.errors import OptionRefused
from storage.marks import pixel_sha256, read
from storage.pictures import decode
from storage.settings import Settings
from storage.spec.plan import Plan
from worker import named_code
from worker.runs.storing.encoding import Encoder
from worker_bench import Bench

PLAN_OF = Plan.model_validate({**PLAN, "threads": 1, "tf32": False})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "fake.json").write_text("{}")
    return Bench(tmp_path)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def signature(picture: Image.Image, recipe: Any) -> Image.Image:
    """A watermark that shows, and knows its seed."""
    ImageDraw.Draw(picture).rectangle((0, 0, 8, 8), fill=(recipe.pop("seed") % 256, 0, 0))  # it may do as it likes
    return picture


def shrink(picture: Image.Image, recipe: Any) -> Image.Image:
    return picture.resize((8, 8))


def grey(picture: Image.Image, recipe: Any) -> Image.Image:
    return picture.convert("L")


def broken(picture: Image.Image, recipe: Any) -> Image.Image:
    raise RuntimeError("no ink")


def forgetful(picture: Image.Image, recipe: Any) -> None:
    return None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watermarks of another distribution."""
    names = ("signature", "shrink", "grey", "broken", "forgetful", "missing")
    points = [EntryPoint(name, f"test_marks_jobs:{name}", named_code.GROUPS["watermark"]) for name in names]
    monkeypatch.setattr(named_code, "entry_points", lambda *, group: EntryPoints(points).select(group=group))


@pytest.mark.parametrize(
    ("output", "suffix", "format_"),
    [
        pytest.param({"format": "png"}, "png", "PNG", id="png"),
        pytest.param({"format": "jpeg"}, "jpg", "JPEG", id="jpeg"),
        pytest.param({"format": "webp", "quality": 40}, "webp", "WEBP", id="webp"),
        pytest.param({"format": "webp", "lossless": True}, "webp", "WEBP", id="webp without loss"),
    ],
)
def test_a_run_stores_what_the_job_wants(bench: Bench, output: dict[str, Any], suffix: str, format_: str) -> None:
    manifest = bench.run(bench.freeze(output=output))

    assert [made.key.rpartition("/")[2] for made in manifest.images] == [f"00000000{n}.{suffix}" for n in range(6)]
    for made in manifest.images:
        data = bench.store.get(made.key)
        opened = decode(data, max_pixels=10**6)
        assert Image.open(io.BytesIO(data)).format == format_
        assert (made.sha256, made.pixel_sha256) == (hashlib.sha256(data).hexdigest(), pixel_sha256(opened))
        assert (made.bytes, made.xxh3_64) == (len(data), xxh3_64_hexdigest(data))
        assert read(data).recipe_hash == made.recipe_hash


def test_lossy_files_are_known_by_the_pixels_that_are_left(bench: Bench) -> None:
    hashes = {
        name: [made.pixel_sha256 for made in bench.run(bench.freeze(output=output)).images]
        for name, output in {
            "png": {}, "jpeg": {"format": "jpeg"}, "lossless": {"format": "webp", "lossless": True},
        }.items()
    }  # fmt: skip

    assert hashes["png"] == hashes["lossless"]
    assert not set(hashes["png"]) & set(hashes["jpeg"])


def test_levels_reach_the_files(bench: Bench) -> None:
    def found(**output: Any) -> Any:
        return read(bench.store.get(bench.run(bench.freeze(output=output)).images[0].key))

    full, quiet, minimal, none = (
        found(), found(prompts=False), found(format="webp", metadata="minimal"), found(metadata="none")
    )  # fmt: skip

    assert (full.record["recipe"]["prompt"], full.infotext.startswith("a fox\n")) == ("a fox", True)
    assert ("prompt" in quiet.record["recipe"], quiet.infotext) == (False, None)
    assert (minimal.record["level"], minimal.source_type) == ("minimal", "trainedAlgorithmicMedia")
    assert none == read(b"")


def test_a_spooled_image_is_sent_as_what_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, str] = {}
    put = bench.store.put

    def note(key: str, data: bytes, *, content_type: str = "") -> None:
        said[key.rpartition("/")[2]] = content_type
        put(key, data, content_type=content_type)

    monkeypatch.setattr(bench.store, "put", note)
    for output in ({"format": "png"}, {"format": "jpeg"}, {"format": "webp"}):
        bench.run(bench.freeze(output=output))

    assert {said[f"000000000.{suffix}"] for suffix in ("png", "jpg", "webp")} == {
        "image/png", "image/jpeg", "image/webp",
    }  # fmt: skip


def test_a_watermark_is_in_the_file_and_in_its_hash(installed: None) -> None:
    encoder = Encoder({"format": "png", "watermark": "signature"}, allowed=("signature",))

    made = encoder.encode(picture(), recipe(), plan=PLAN_OF, libraries={})

    opened = decode(made.data, max_pixels=10**6)
    assert opened.getpixel((0, 0)) == (7, 0, 0)
    assert pixel_sha256(opened) == pixel_sha256(made.picture) != pixel_sha256(picture())
    record = read(made.data).record
    assert record is not None
    assert record["edits"] == {"watermark": "signature"}
    assert record["recipe"] == recipe()


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        pytest.param(
            "shrink", "'shrink' made 8x8 RGB of a picture of 64x64 RGB, and must keep size and mode", id="size"
        ),
        pytest.param("grey", "'grey' made 64x64 L of a picture of 64x64 RGB, and must keep size and mode", id="mode"),
        pytest.param("broken", "'broken' raised RuntimeError: no ink", id="raises"),
        pytest.param("forgetful", "'forgetful' raised AttributeError: 'NoneType' object has no", id="gives nothing"),
    ],
)
def test_an_image_whose_watermark_fails_is_a_failed_image(
    bench: Bench, installed: None, name: str, detail: str
) -> None:
    message = bench.freeze(output={"watermark": name})
    object.__setattr__(bench.tools, "watermarks", (name,))

    manifest = bench.run(message)

    assert (manifest.images, manifest.fatal, len(manifest.failed)) == ([], None, 6)
    assert {failed.reason for failed in manifest.failed} == {"error"}
    assert manifest.failed[0].detail.startswith(f"WatermarkFailed: {detail}")


@pytest.mark.parametrize(
    ("name", "allowed", "rule"),
    [
        pytest.param("sgnature", (), "no such entry point in 'seedfarm.watermarks' on this worker; did you", id="typo"),
        pytest.param(
            "signature", ("grey",), "not allowed on this worker; its operator sets FARM_WATERMARKS", id="other"
        ),
        pytest.param("missing", ("missing",), "cannot be loaded: AttributeError", id="cannot be loaded"),
    ],
)
def test_a_watermark_that_is_not_there_or_not_allowed_ends_the_job(
    bench: Bench, installed: None, name: str, allowed: tuple[str, ...], rule: str
) -> None:
    message = bench.freeze(output={"watermark": name})
    object.__setattr__(bench.tools, "watermarks", allowed)

    for kind in ("render", "resolve"):
        manifest = bench.run(message.model_copy(update={"kind": kind}))

        assert (manifest.images, manifest.failed) == ([], [])
        assert manifest.fatal is not None
        assert manifest.fatal.startswith(f"output.watermark = '{name}': {rule}")


def test_without_any_watermark_installed_the_error_says_so() -> None:
    with pytest.raises(OptionRefused, match="none is installed"):
        Encoder({"format": "png", "watermark": "x"}, allowed=("x",))


def test_the_operator_lists_watermarks_by_commas() -> None:
    assert Settings(watermarks=" a, b,,").watermark_names == ("a", "b")
    assert Settings().watermark_names == ()


@pytest.mark.parametrize(("name", "suffix"), [("jpeg", "jpg"), ("webp", "webp")])
def test_a_farm_renders_files_of_another_format(desk: Desk, name: str, suffix: str) -> None:
    desk.write_job(output={"format": name}, previews={"every": 1, "keep": True}, axes={
        "prompt": ["a fox", "two foxes\nand a 🦊"], "seed": {"count": 2},
    })  # fmt: skip

    ended = desk.farm("run", "job.yaml", "--out", "pictures", "--plain")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = desk.images()
    desk.check_objects(rows)
    store = open_store(str(desk.home / "store"))
    assert [str(row.key).rpartition(".")[2] for row in rows.values()] == [suffix] * 4
    for row in rows.values():
        assert pixel_sha256(decode(store.get(str(row.key)), max_pixels=10**6)) == row.pixel_sha256
    files = sorted(file.name for file in (desk.folder / "pictures").iterdir())
    assert [file for file in files if file[:2] == "00"] == [f"00000{n}_own_{n % 2}.{suffix}" for n in range(4)]
    with (desk.folder / "pictures" / files[0]).open("rb") as file:
        found = read_by_others(file)
    assert found is not None
    assert found.samplers[0].prompts[0].value == "a fox"
    assert desk.farm("gc", "--grace", "0").returncode == 0
    assert all(store.get(str(key)) for row in rows.values() for key in (row.key, row.preview_key))
    sheet = desk.farm("sheet", "@last", "--to", "sheets")
    assert "4 images" in sheet.stdout, sheet.stdout + sheet.stderr
