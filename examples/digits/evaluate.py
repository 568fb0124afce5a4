"""Measure the model: does it draw what the prompt says?

    python -m examples.digits.evaluate

Prompts and seeds are fixed, every image has a generator of its own, and the reader has
only ever seen real scans. Its score on held-out real scans in the same styles is told
first: no model can be measured to be better than that.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageDraw
from torch import Tensor

from .data import load_scans
from .reader import Reader, Reading, dressed
from .words import DIGITS, Style, phrase, styles

HERE = Path(__file__).parent
PROMPT_SEED = 2026
FIRST_SEED = 10_000  # of the images, one by one
BATCH = 50
SCHEDULERS = {
    "DDIM": ("DDIMScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "PNDM": ("PNDMScheduler", {"skip_prk_steps": True}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "DDPM": ("DDPMScheduler", {}),
    "LCM": ("LCMScheduler", {}),
}
GRID = (
    "a red {} on white",
    "a blue {} on white",
    "a thick yellow {} on navy",
    "a thin white {} on black",
    "a big orange {} on gray",
    "a small purple {} on white",
    "a white {} tilted left on navy",
    "a black {} tilted right on white",
    "a big thick green {} on black",
    "a {}",
)


def set_scheduler(pipeline: DiffusionPipeline, name: str) -> None:
    """Swap in a fresh scheduler that keeps the model's noise levels."""
    kind, options = SCHEDULERS[name]
    pipeline.scheduler = getattr(diffusers, kind).from_config(pipeline.scheduler.config, **options)


def render(
    pipeline: DiffusionPipeline, prompts: Sequence[str], *, seeds: Sequence[int], guidance: float, steps: int
) -> Tensor:
    """Render one image per prompt and seed: (n, 3, 64, 64) in 0..1, rounded to 8 bits."""
    found = []
    for start in range(0, len(prompts), BATCH):
        part = slice(start, start + BATCH)
        result = pipeline(
            list(prompts[part]),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
            guidance_scale=guidance,
            num_inference_steps=steps,
            output_type="np",
        )
        found.append(torch.from_numpy(np.asarray(result.images)).permute(0, 3, 1, 2))
    return (torch.cat(found) * 255).round() / 255


def score(readings: Sequence[Reading], wanted: Sequence[Style]) -> str:
    """Shares right with one standard error, as cells of a table: digit, ink, ground."""
    right = np.array([reading.agrees(style) for reading, style in zip(readings, wanted, strict=True)])
    share = right.mean(axis=0)
    error = np.sqrt(share * (1 - share) / len(right))
    return " | ".join(f"{100 * s:.1f} ± {100 * e:.1f}" for s, e in zip(share, error, strict=True))


def ceiling(reader: Reader, *, copies: int = 4) -> str:
    """The reader's score on held-out real scans, each in a few random styles."""
    _, held = load_scans()
    images, worn = dressed(held, list(range(len(held.labels))) * copies, seed=PROMPT_SEED)
    return score(reader.read((images * 255).round() / 255), worn)


def draw_grid(pipeline: DiffusionPipeline, *, guidance: float, steps: int, path: Path) -> None:
    """Rows of prompts by digits zero to nine, each image with a seed of its own."""
    margin, side = 220, 66
    sheet = Image.new("RGB", (margin + 10 * side, len(GRID) * side), "white")
    pen = ImageDraw.Draw(sheet)
    for row, text in enumerate(GRID):
        prompts = [text.format(digit) for digit in DIGITS]
        prompts = [prompt.replace("a eight", "an eight") for prompt in prompts]
        images = render(pipeline, prompts, seeds=range(100 * row, 100 * row + 10), guidance=guidance, steps=steps)
        pen.text((6, row * side + 26), text.format("…"), fill="black", font_size=13)
        for column, image in enumerate(images):
            pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
            sheet.paste(Image.fromarray(pixels), (margin + column * side, row * side))
    sheet.save(path)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; the defaults make the table of the README."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=HERE / "model", help="folder of the model")
    parser.add_argument("--reader", type=Path, default=HERE / ".work" / "reader.pt", help="kept reader")
    parser.add_argument("--count", type=int, default=500, help="prompts")
    parser.add_argument("--seed", type=int, default=PROMPT_SEED, help="of the prompts")
    parser.add_argument("--guidance", type=float, nargs="+", default=[5.0], help="scales to try")
    parser.add_argument("--steps", type=int, default=20, help="of the scheduler")
    parser.add_argument("--schedulers", nargs="+", choices=SCHEDULERS, default=["DDIM"], help="which to try")
    parser.add_argument("--grid", type=Path, help="draw sample pictures there too")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    return parser.parse_args(arguments)


def main() -> None:
    """Print a table in Markdown, row by row as it is measured."""
    options = parse()
    torch.set_num_threads(options.threads)
    reader = Reader.at(options.reader)
    pipeline = DiffusionPipeline.from_pretrained(options.model)
    pipeline.set_progress_bar_config(disable=True)
    wanted = list(islice(styles(options.seed), options.count))
    prompts, seeds = [phrase(style) for style in wanted], range(FIRST_SEED, FIRST_SEED + options.count)

    print("| scheduler, steps | guidance | digit % | ink % | ground % | images/s |\n|---|---|---|---|---|---|")
    print(f"| held-out real scans | | {ceiling(reader)} | |", flush=True)
    for name in options.schedulers:
        set_scheduler(pipeline, name)
        for guidance in options.guidance:
            start_s = time.monotonic()
            images = render(pipeline, prompts, seeds=seeds, guidance=guidance, steps=options.steps)
            rate = len(prompts) / (time.monotonic() - start_s)
            cells = score(reader.read(images), wanted)
            print(f"| {name} {options.steps} | {guidance:g} | {cells} | {rate:.0f} |", flush=True)
    if options.grid:
        set_scheduler(pipeline, "DDIM")
        draw_grid(pipeline, guidance=options.guidance[0], steps=options.steps, path=options.grid)


if __name__ == "__main__":
    main()
