"""The bundled digits model and the code that trains it."""

import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

# What transformers and diffusers say of themselves while they load; none of it is ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

from examples.digits import loop, text, train, words  # noqa: E402
from examples.digits.data import load_scans  # noqa: E402
from examples.digits.reader import dressed, separate  # noqa: E402

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "examples" / "digits" / "model"
SHORT = ["--vae-steps=2", "--text-steps=2", "--decoder-steps=2", "--vae-batch=4", "--unet-batch=8", "--pool=40"]
CREW = ["torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2"]
# Two processes, each with data of its own: the mean gradient must reach both.
CREW_SCRIPT = """
import torch
from torch import nn
from examples.digits import crew

crew.join()
weight = nn.Parameter(torch.zeros(3))
(weight * (crew.rank() + 1.0)).sum().backward()
crew.share_gradients([weight])
assert crew.size() == 2
assert weight.grad.tolist() == [1.5] * 3
crew.leave()
"""


def test_a_short_run_makes_a_model_and_a_second_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [f"--work={tmp_path / 'work'}", f"--out={tmp_path / 'model'}"]
    command = [sys.executable, "-m", "examples.digits.train", *SHORT, *places, "--unet-steps=2"]

    first = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    train.run(train.parse([*SHORT, *places, "--unet-steps=4"]))
    second = capsys.readouterr().out

    assert "unet 2/2" in first
    assert "unet goes on at step 2" in second
    assert "unet 4/4" in second
    assert (tmp_path / "model" / "model_index.json").exists()


def test_a_crew_shares_its_gradients(tmp_path: Path) -> None:
    script = tmp_path / "crew_of_two.py"
    script.write_text(CREW_SCRIPT)
    paths = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    done = subprocess.run([sys.executable, "-m", *CREW, script], check=False, env=paths, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_a_killed_stage_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    stage = loop.Stage(name="line", steps=12, batch=4, peak=0.1, ema=0.9, seed=3, save_every_s=0.0)

    def run(folder: Path, *, killed_after: int | None) -> Tensor:
        torch.manual_seed(0)
        line = nn.Linear(3, 1)
        seen = 0

        def loss_of(draw: loop.Draw) -> Tensor:
            nonlocal seen
            if seen == killed_after:
                raise KeyboardInterrupt
            seen += 1
            return line(torch.randn(stage.batch, 3, generator=draw.generator)).square().mean()

        loop.train(nn.ModuleDict({"line": line}), loss_of, stage=stage, folder=folder)
        return line.weight.detach()

    whole = run(tmp_path / "whole", killed_after=None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", killed_after=5)
    resumed = run(tmp_path / "cut", killed_after=None)

    assert torch.equal(whole, resumed)


@pytest.mark.parametrize(
    ("style", "said"),
    [
        pytest.param(
            words.Style(digit=7, ink="red", ground="white", size="big", stroke="thick", tilt="tilted left"),
            "a big thick red seven tilted left on white",
            id="all said",
        ),
        pytest.param(words.Style(digit=8, ink="", ground=""), "an eight", id="digit alone"),
    ],
)
def test_a_style_is_said_in_plain_words(style: words.Style, said: str) -> None:
    assert words.phrase(style) == said


def test_every_caption_names_its_digit_or_is_empty() -> None:
    rng = random.Random(0)
    style = words.Style(digit=3, ink="red", ground="white")

    captions = {text.caption(text.heard(style, rng), rng) for _ in range(500)}

    assert "" in captions
    assert all(set(caption.split()) & {"three", "3"} for caption in captions - {""})


def test_colours_of_real_scans_are_read_without_error() -> None:
    _, held = load_scans()

    images, worn = dressed(held, range(200), seed=1)
    _, inks, grounds = separate(images)

    assert inks == [style.ink for style in worn]
    assert grounds == [style.ground for style in worn]


def test_the_bundled_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) <= 8_000_000


def test_the_bundled_model_draws_the_colours_it_is_asked_for() -> None:
    from diffusers import DiffusionPipeline

    from examples.digits.evaluate import render

    wanted = list(islice(words.styles(7), 20))
    pipeline = DiffusionPipeline.from_pretrained(MODEL)
    pipeline.set_progress_bar_config(disable=True)

    images = render(pipeline, [words.phrase(s) for s in wanted], seeds=range(20), guidance=5.0, steps=10)
    _, inks, grounds = separate(images)

    assert images.shape == (20, 3, 64, 64)
    assert sum(ink == s.ink for ink, s in zip(inks, wanted, strict=True)) >= 16
    assert sum(ground == s.ground for ground, s in zip(grounds, wanted, strict=True)) >= 18
