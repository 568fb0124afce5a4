"""Code of an operator's that a job names is known by its digest: recorded, never mixed with other code."""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm_desk import Desk
from storage.errors import InvalidSpec
from storage.settings import Settings
from storage.spec.growth.extension import extend
from storage.spec.named_code import code_of, with_code
from storage.wire.messages import ChunkMessage, Manifest
from worker import named_code
from worker.diffusion import DiffusionRenderer
from worker.fake import FakeRenderer
from worker_bench import Bench
from worker_desk import ROOT, fake_model

INK = "def stamp(picture, recipe):\n    picture.putpixel((0, 0), {colour})\n    return picture\n"
STAMP = "watermark:stamp"


def write(site: Path, *, colour: tuple[int, int, int], version: str = "1.0") -> None:
    """Install the watermark as an operator would: a distribution with an entry point."""
    info = site / "toy_marks.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-marks\nVersion: {version}\n")
    points = "[seedfarm.watermarks]\nstamp = toy_marks:stamp\n[seedfarm.callbacks]\nfade = toy_marks:stamp\n"
    (info / "entry_points.txt").write_text(points)
    (site / "toy_marks.py").write_text(INK.format(colour=colour))
    importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    write(folder, colour=(255, 0, 0))
    monkeypatch.syspath_prepend(folder)
    yield folder
    forget()


def forget() -> None:
    """What a new process knows: nothing."""
    sys.modules.pop("toy_marks", None)
    named_code._loaded.pop("toy_marks", None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    fake_model(tmp_path)
    made = Bench(tmp_path)
    object.__setattr__(made.tools, "watermarks", ("stamp",))
    return made


def frozen(bench: Bench) -> ChunkMessage:
    return bench.freeze(output={"watermark": "stamp"})


def resolve(bench: Bench, message: ChunkMessage) -> Manifest:
    return bench.run(message.model_copy(update={"kind": "resolve", "models": {}, "ranges": [], "plan": None}))


def test_a_worker_says_which_code_it_runs_for_a_job(bench: Bench, site: Path) -> None:
    found = resolve(bench, frozen(bench)).models[STAMP]

    assert (found.kind, found.family) == ("watermark", "toy-marks 1.0")
    assert found.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("colour", "version"),
    [pytest.param((0, 0, 9), "1.0", id="another text"), pytest.param((255, 0, 0), "1.1", id="another version")],
)
def test_other_code_of_that_name_has_another_digest(
    bench: Bench, site: Path, colour: tuple[int, int, int], version: str
) -> None:
    before = resolve(bench, frozen(bench)).models[STAMP].digest
    forget()
    assert resolve(bench, frozen(bench)).models[STAMP].digest == before
    forget()
    write(site, colour=colour, version=version)

    assert resolve(bench, frozen(bench)).models[STAMP].digest != before


def test_code_that_was_changed_under_a_worker_is_not_taken_for_what_it_runs(bench: Bench, site: Path) -> None:
    message = frozen(bench)
    models = resolve(bench, message).models
    write(site, colour=(0, 0, 255))

    going_on = bench.run(message.model_copy(update={"models": models}))
    anew = resolve(bench, message)

    assert len(going_on.images) == 6
    assert anew.fatal_here
    assert anew.fatal == (
        "output.watermark = 'stamp': toy_marks was changed after this worker had loaded it; start the worker anew"
    )


def test_a_worker_with_other_code_renders_nothing_of_the_job(bench: Bench, site: Path) -> None:
    message = frozen(bench)
    models = resolve(bench, message).models
    forget()
    write(site, colour=(0, 0, 255))

    ended = bench.run(message.model_copy(update={"models": models}))

    assert (ended.images, ended.failed, ended.fatal_here) == ([], [], True)
    assert str(ended.fatal).startswith("model 'watermark:stamp' cannot be used: its code has digest sha256:")


def test_a_job_from_before_code_was_recorded_goes_on(bench: Bench, site: Path) -> None:
    assert len(bench.run(frozen(bench)).images) == 6


def test_a_callback_is_known_as_a_watermark_is_and_its_digest_is_in_the_recipe(tmp_path: Path, site: Path) -> None:
    fake_model(tmp_path)
    bench = Bench(tmp_path, FakeRenderer(Settings(home=tmp_path)))
    real = DiffusionRenderer(Settings(home=tmp_path, callbacks="fade"))
    message = bench.freeze(callbacks="fade")

    found = real.resolve("fade", kind="callback")
    models = {**message.models, **resolve(bench, message).models}
    made = bench.run(message.model_copy(update={"models": models})).images[0]

    assert (found.kind, found.family) == ("callback", "toy-marks 1.0")
    plain = {"callbacks": [{"name": "fade", "options": {}}]}
    assert with_code(plain, {"callback:fade": found.digest})["callbacks"][0]["code"] == found.digest
    assert made.recipe_hash != bench.run(message).images[0].recipe_hash


def test_code_is_found_in_axes_and_an_extension_cannot_bring_more(bench: Bench) -> None:
    bench.freeze(axes={"callbacks": [[], "fade", ["fade", "hush"]]})
    job = bench.spec
    bench.freeze(axes={"callbacks": [[], "fade", ["fade", "hush"], "flood"]})

    assert set(code_of(job)) == {"callback:fade", "callback:hush"}
    with pytest.raises(InvalidSpec, match=r"model callback:flood: nothing in the job, 'flood' in the file; a job"):
        extend(job, bench.spec, max_images=100)


def test_images_are_not_linked_across_a_change_of_a_watermark_and_say_which_one_they_bear(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write(site, colour=(255, 0, 0))
    path = os.pathsep.join([str(ROOT), str(site)])
    desk = Desk(tmp_path, FARM_WATERMARKS="stamp", PYTHONPATH=path)
    said = []

    for name, colour in (("first", (255, 0, 0)), ("same", (255, 0, 0)), ("other", (0, 0, 255))):
        write(site, colour=colour)
        desk.write_job(name=name, output={"watermark": "stamp"}, axes={"seed": {"count": 2}}, prompt="a fox")
        ended = desk.farm("run", "job.yaml", "--plain")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        said.append(json.loads(desk.farm("image", "@last", "0").stdout))

    first, same, other = said
    assert same["linked_from"] == first["image_id"]
    assert other["linked_from"] is None
    codes = [one["code"][STAMP] for one in said]
    assert codes[0] == codes[1] == {"kind": "watermark", "digest": codes[0]["digest"], "distribution": "toy-marks 1.0"}
    assert codes[2]["digest"] != codes[0]["digest"]
