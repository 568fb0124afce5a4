"""Every file in examples/ with the real renderer: the bundled digits, and tiny models in place of the large ones."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import torch
import yaml
from PIL import Image

from farm_desk import Desk
from storage.settings import Settings
from storage.spec import Job, JobFile, Numbers, canonical, freeze
from storage.wire import keys
from storage.wire.messages import ChunkMessage, Manifest
from tiny import BUILDERS
from worker.diffusion.renderer import DiffusionRenderer
from worker_bench import Bench
from worker_desk import ONE_BY_ONE

# What transformers and diffusers say of themselves while they load; none of it is ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"
FILES: Final = sorted(EXAMPLES.glob("*.yaml"))
LARGE: Final = {  # what stands in for models of gigabytes
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl",
    "stabilityai/stable-diffusion-xl-refiner-1.0": "refiner",
    "sd2-community/stable-diffusion-2-depth": "sd_depth",
    "plusholic/corgy_dog_LoRA?path=pytorch_lora_weights.safetensors": "lora_xl",
}
CHANGES: Final = {"steps": 6, "refiner_steps": 8, "width": 64, "height": 64}  # where the file says something else
ENOUGH: Final = {"img2img-strength": 10, "refine-ensemble": 10}  # steps, so that every share of them is another number
SHOWN: Final = {  # what each example is about
    "callback": {"callbacks"},
    "cfg-sweep": {"guidance_scale"},
    "depth": {"strength"},
    "digits": {"prompt", "seed"},
    "dreambooth-lora": {"lora_scale"},
    "dynamic-cfg": {"dynamic_guidance", "cfg_cutoff"},
    "img2img-strength": {"strength"},
    "inpaint": {"prompt", "mask_invert"},
    "lora-scale": {"lora_scale"},
    "micro-conditioning": {"original_size", "crops_coords_top_left"},
    "refine-after": {"refiner", "refiner_strength"},
    "refine-ensemble": {"refiner", "refiner_start"},
    "scheduler-sheet": {"scheduler"},
    "scheduler-steps": {"steps"},
    "sdxl": {"prompt", "seed"},
}
MOST: Final = 6  # images of one example


class Gallery:
    """Renders examples, a few images of each."""

    def __init__(self, folder: Path, *, callbacks: str = "") -> None:
        self.folder = folder
        torch.set_num_threads(1)
        self.bench = Bench(folder, DiffusionRenderer(Settings(home=folder, resident_pipelines=2, callbacks=callbacks)))

    def freeze(self, file: Path) -> Job:
        """The job of a file, on models and at sizes that a test can bear; its inputs in the store."""
        entries = {name: self._small(value) for name, value in yaml.safe_load(file.read_text()).items()}
        changes = CHANGES | {"steps": ENOUGH.get(file.stem, CHANGES["steps"])}
        entries |= {name: value for name, value in changes.items() if name in entries}
        spec = freeze(JobFile.model_validate(entries), base=EXAMPLES, name=file.stem, max_images=1000)
        for key, path in spec.files.items():
            self.bench.store.put(keys.input_key(key), Path(path).read_bytes())
        self.bench.spec = spec
        self.bench.store.put(keys.spec_key("job", spec.hash), canonical(spec.to_json()))
        return Job(spec)

    def resolve(self, job: Job) -> Manifest:
        """What a worker says of the job before its first picture."""
        return self.bench.run(self._message(job, kind="resolve", models={}, ranges=[]))

    def render(self, job: Job, numbers: list[int]) -> Manifest:
        """Images by number."""
        known = self.resolve(job)
        assert known.fatal is None
        ranges = Numbers.of(numbers).to_json()
        return self.bench.run(self._message(job, kind="render", models=known.models, ranges=ranges))

    def _message(self, job: Job, **rest: Any) -> ChunkMessage:
        return ChunkMessage(job="job", chunk=1, attempt=1, spec_hash=job.spec.hash, plan=ONE_BY_ONE, **rest)

    def _small(self, value: Any) -> Any:
        """A value of a job file with every large model replaced."""
        if isinstance(value, list):
            return [self._small(part) for part in value]
        if isinstance(value, dict):
            return {name: self._small(part) for name, part in value.items()}
        if value not in LARGE:
            return value
        place = self.folder / LARGE[value]
        if not place.exists():
            BUILDERS[LARGE[value]](place)
        return str(place)


@pytest.fixture(scope="module")
def callback_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/callbacks, installed beside the environment as `pip install examples/callbacks` would into it."""
    source, target = tmp_path_factory.mktemp("callbacks"), tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLES / "callbacks", source, dirs_exist_ok=True)  # setuptools writes beside what it builds
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


@pytest.fixture
def installed(callback_package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(callback_package)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("example_callbacks", None)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return Gallery(tmp_path_factory.mktemp("gallery"), callbacks="drift,contrast")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, FARM_RENDERER="diffusers")
    yield made
    made.close()


def numbers_along(job: Job, shown: set[str]) -> list[int]:
    """The images that differ from the first one in nothing but `shown`: at most MOST, spread evenly."""
    first = job[0]
    assert first is not None

    def rest(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in shown}

    alike = [place.number for place in job if place is not None and rest(place.values) == rest(first.values)]
    return sorted({alike[step * len(alike) // MOST] for step in range(MOST)})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_renders_and_its_pictures_differ_by_what_it_shows(
    file: Path, gallery: Gallery, installed: None
) -> None:
    job = gallery.freeze(file)
    numbers = numbers_along(job, SHOWN[file.stem])

    manifest = gallery.render(job, numbers)

    assert manifest.fatal is None
    assert manifest.failed == []
    assert [image.number for image in manifest.images] == numbers
    assert len(numbers) > 1
    assert len({image.pixel_sha256 for image in manifest.images}) == len(numbers)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_teaches_its_command_and_is_listed(file: Path) -> None:
    text, listing = file.read_text(), (EXAMPLES / "README.md").read_text()

    assert text.startswith("# ")
    assert f"]({file.name})" in listing


def test_callbacks_that_are_not_installed_are_refused_in_one_sentence(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, callbacks="drift,contrast")

    fatal = gallery.resolve(gallery.freeze(EXAMPLES / "callback.yaml")).fatal

    assert fatal == (
        "callbacks = 'drift': no such entry point in 'seedfarm.callbacks' on this worker; none is installed"
    )


def test_callbacks_that_the_operator_did_not_allow_are_refused_in_one_sentence(tmp_path: Path, installed: None) -> None:
    gallery = Gallery(tmp_path)

    fatal = gallery.resolve(gallery.freeze(EXAMPLES / "callback.yaml")).fatal

    assert fatal == "callbacks = 'drift': not allowed on this worker; its operator sets FARM_CALLBACKS"


def test_a_callback_that_refuses_its_options_says_why(tmp_path: Path, installed: None) -> None:
    gallery = Gallery(tmp_path, callbacks="drift")
    file = tmp_path / "job.yaml"
    file.write_text(
        "{model: digits/model, prompt: a red one, callbacks: [{name: drift, options: {start: 2}}]}", encoding="utf-8"
    )

    fatal = gallery.resolve(gallery.freeze(file)).fatal

    assert fatal is not None
    assert "start = 2: must be at least 0 and below 1" in fatal


def test_the_bundled_lora_is_small() -> None:
    assert sum(path.stat().st_size for path in (EXAMPLES / "digits" / "lora").iterdir()) <= 300_000


def test_the_bundled_lora_draws_badges_and_the_bare_model_none() -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    from diffusers import DiffusionPipeline

    from examples.digits.badges import INKED_SHARE, inked
    from examples.digits.evaluate import render

    prompts = [f"a {ink} {digit} on white" for ink in ("red", "black") for digit in ("one", "two", "five", "seven")]
    pipeline = DiffusionPipeline.from_pretrained(EXAMPLES / "digits" / "model")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(EXAMPLES / "digits" / "lora", adapter_name="badges")

    def badges(scale: float) -> int:
        pipeline.set_adapters("badges", scale)
        images = render(pipeline, prompts, seeds=range(len(prompts)), guidance=5.0, steps=10)
        return int((inked(images)[1] >= INKED_SHARE).sum())

    bare, full = badges(0.0), badges(1.0)

    assert bare == 0
    assert full >= 6


def test_the_lora_trainer_makes_weights_and_goes_on_from_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    from examples.digits import lora

    places = [f"--work={tmp_path / 'work'}", f"--out={tmp_path / 'lora'}", "--pool=40", "--batch=8"]

    lora.run(lora.parse([*places, "--steps=2"]))
    lora.run(lora.parse([*places, "--steps=3"]))

    assert "lora goes on at step 2" in capsys.readouterr().out
    assert (tmp_path / "lora" / "pytorch_lora_weights.safetensors").stat().st_size <= 300_000


def test_the_lora_sweep_runs_on_a_farm_and_fills_a_sheet(desk: Desk) -> None:
    changes = ["--set", "steps=4", "--set", "axes.lora_scale=[0, 0.5, 1.0]"]

    ran = desk.farm("run", str(EXAMPLES / "lora-scale.yaml"), *changes, "--plain", "--out", "pictures")
    drawn = desk.farm("sheet", "@last", "--rows", "prompt", "--cols", "lora_scale")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
    rows = desk.images()
    assert len(rows) == 18
    assert len({row.pixel_sha256 for row in rows.values()}) == 18
    with Image.open(next(desk.folder.glob("*-sheet.png"))) as sheet:
        assert sheet.width > 3 * 64
