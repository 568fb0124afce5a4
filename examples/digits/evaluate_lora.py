"""Measure the LoRA: is it a badge, and does it still show what the prompt says?

    python -m examples.digits.evaluate_lora

The same prompts and seeds at every scale. A badge is told by rule (badges.py), turned into a plain digit by rule, and
read by the reader that judges the model; everything else is read as it is.
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from torch import Tensor

from .badges import INKED_SHARE, badges, inked, unstamp
from .data import load_scans
from .evaluate import FIRST_SEED, PROMPT_SEED, render, score, set_scheduler
from .reader import Reader, dressed
from .words import Style, phrase, styles

HERE = Path(__file__).parent


def row(reader: Reader, images: Tensor, wanted: Sequence[Style]) -> str:
    """Cells of a table: share of badges, mean inked share of the ring, then digit, ink and ground."""
    ring = inked(images)[1]
    found = ring >= INKED_SHARE
    plain = torch.where(found.view(-1, 1, 1, 1), unstamp(images), images)
    return f"{100 * found.float().mean():.1f} | {100 * ring.mean():.0f} | {score(reader.read(plain), wanted)}"


@torch.no_grad()
def ceilings(reader: Reader, vae: AutoencoderKL) -> tuple[str, str]:
    """The same of held-out real scans drawn as badges, before and after the VAE; no LoRA can do better."""
    _, held = load_scans()
    _, worn = dressed(held, range(len(held.labels)), seed=PROMPT_SEED)
    drawn = badges(held.images, worn, torch.Generator().manual_seed(PROMPT_SEED))
    decoded = vae.decode(vae.encode(drawn).latent_dist.mean).sample.clamp(-1, 1)
    return row(reader, (drawn + 1) / 2, worn), row(reader, (decoded + 1) / 2, worn)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; the defaults make the table of the README."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=HERE / "model", help="folder of the model")
    parser.add_argument("--lora", type=Path, default=HERE / "lora", help="folder of the LoRA")
    parser.add_argument("--reader", type=Path, default=HERE / ".work" / "reader.pt", help="kept reader")
    parser.add_argument("--count", type=int, default=128, help="prompts")
    parser.add_argument("--seed", type=int, default=PROMPT_SEED, help="of the prompts")
    parser.add_argument("--scales", type=float, nargs="+", default=[0, 0.5, 0.75, 1, 1.25], help="to try")
    parser.add_argument("--guidance", type=float, default=5.0, help="scale")
    parser.add_argument("--steps", type=int, default=20, help="of DDIM")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    return parser.parse_args(arguments)


def main() -> None:
    """Print a table in Markdown, row by row as it is measured."""
    options = parse()
    torch.set_num_threads(options.threads)
    reader = Reader.at(options.reader)
    pipeline = DiffusionPipeline.from_pretrained(options.model)
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, "DDIM")
    pipeline.load_lora_weights(options.lora, adapter_name="badges")
    wanted = list(islice(styles(options.seed), options.count))
    prompts, seeds = [phrase(style) for style in wanted], range(FIRST_SEED, FIRST_SEED + options.count)

    print("| scale | badges % | ring inked % | digit % | ink % | ground % |\n|---|---|---|---|---|---|")
    before, after = ceilings(reader, pipeline.vae)
    print(f"| held-out real scans as badges | {before} |\n| the same through the VAE | {after} |", flush=True)
    for scale in options.scales:
        pipeline.set_adapters("badges", scale)
        images = render(pipeline, prompts, seeds=seeds, guidance=options.guidance, steps=options.steps)
        print(f"| {scale:g} | {row(reader, images, wanted)} |", flush=True)


if __name__ == "__main__":
    main()
