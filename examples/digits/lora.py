"""Train a LoRA that teaches the digits model badges, on one CPU core.

    python -m examples.digits.lora

Run it from the repository's root. Only small factors beside the UNet's attention layers are trained (Hu et al. 2021,
arXiv:2106.09685); everything else stays as it is. Killed at any time, the same command goes on from its checkpoint.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from .badges import badges
from .data import load_scans
from .loop import Draw, Stage, train
from .text import caption, heard, tokens
from .words import styles

HERE = Path(__file__).parent
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
KEPT_SHARE = 0.5  # of the badges drawn
Pool = tuple[Tensor, Tensor, Tensor]


@torch.no_grad()
def fill_pool(vae: AutoencoderKL, *, count: int, seed: int, path: Path) -> Pool:
    """Draw badges and encode those that the VAE bears.

    It was trained on plain digits and gives some badges another ink or closes their digit. What it cannot hold the
    LoRA must not learn, so the half that comes back worst is left out.

    Returns:
        Means and deviations, two (n, 4, 8, 8), and the place of each badge's style in `styles(seed)`, (n,).
    """
    if path.exists():
        kept: Pool = torch.load(path)
        return kept
    scans, _ = load_scans()
    source, draw = styles(seed), Draw.of(seed, 0)
    means, deviations, errors = [], [], []
    for start in range(0, count, 100):
        worn = list(islice(source, min(100, count - start)))
        chosen = scans.indices([style.digit for style in worn], draw.generator)
        images = badges(scans.images[chosen], worn, draw.generator)
        latents = vae.encode(images).latent_dist
        means.append(latents.mean)
        deviations.append(latents.std)
        errors.append((vae.decode(latents.mean).sample - images).abs().mean(dim=(1, 2, 3)))
        print(f"badges {start + len(worn)}/{count}", flush=True)
    best = torch.cat(errors).argsort()[: round(KEPT_SHARE * count)]
    pool = torch.cat(means)[best], torch.cat(deviations)[best], best
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(pool, path)
    return pool


def add_lora(unet: UNet2DConditionModel, *, rank: int) -> None:
    """Freeze the UNet and put fresh factors beside its attention layers; they start without effect."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=LAYERS))


def train_lora(pipeline: StableDiffusionPipeline, pool: Pool, *, stage: Stage, folder: Path) -> None:
    """The UNet's own loss (train.py) on badges alone; no word of the prompt stands for the style."""
    means, deviations, places = pool
    drawn = list(islice(styles(stage.seed), int(places.max()) + 1))
    worn = [drawn[place] for place in places.tolist()]
    alphas = pipeline.scheduler.alphas_cumprod

    def loss_of(draw: Draw) -> Tensor:
        chosen = torch.randint(len(means), (stage.batch,), generator=draw.generator)
        prompts = [caption(heard(worn[i], draw.rng), draw.rng) for i in chosen.tolist()]
        noise, blur = torch.randn((2, stage.batch, *means.shape[1:]), generator=draw.generator)
        clean = means[chosen] + deviations[chosen] * blur
        slices = torch.arange(stage.batch) + torch.rand(stage.batch, generator=draw.generator)
        times = (slices / stage.batch * len(alphas)).long().clamp(max=len(alphas) - 1)
        signal, fuzz = (part.view(-1, 1, 1, 1) for part in (alphas[times].sqrt(), (1 - alphas[times]).sqrt()))
        with torch.no_grad():
            hidden = pipeline.text_encoder(tokens(pipeline.tokenizer, prompts))[0]
        made = pipeline.unet(signal * clean + fuzz * noise, times, encoder_hidden_states=hidden).sample
        return (made - (signal * noise - fuzz * clean)).square().mean()

    train(nn.ModuleDict({"unet": pipeline.unet}), loss_of, stage=stage, folder=folder)


def save(unet: UNet2DConditionModel, folder: Path) -> int:
    """Write the factors as float16 in diffusers' own format; return the size in bytes."""
    weights = {name: weight.half() for name, weight in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=weights)
    return sum(path.stat().st_size for path in folder.iterdir())


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; the defaults are what the bundled LoRA was trained with."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=HERE / "model", help="folder of the model")
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, default=HERE / "lora", help="folder of the finished LoRA")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data and noise")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--rank", type=int, default=6, help="of the factors")
    parser.add_argument("--steps", type=int, default=1100, help="of training")
    parser.add_argument("--batch", type=int, default=64, help="latents per step")
    parser.add_argument("--rate", type=float, default=4e-3, help="of learning, at its peak")
    parser.add_argument("--pool", type=int, default=6000, help="badges drawn")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Draw, encode, train, save."""
    torch.manual_seed(options.seed)
    pipeline = StableDiffusionPipeline.from_pretrained(options.model)
    pipeline.vae.requires_grad_(False)
    pool = fill_pool(pipeline.vae, count=options.pool, seed=options.seed, path=options.work / "badges.pt")
    add_lora(pipeline.unet, rank=options.rank)
    stage = Stage(
        name="lora", steps=options.steps, batch=options.batch, peak=options.rate, ema=0.98, seed=options.seed
    )  # fmt: skip
    train_lora(pipeline, pool, stage=stage, folder=options.work)
    print(f"{options.out}: {save(pipeline.unet, options.out) / 1e3:.0f} kB", flush=True)


def main() -> None:
    """Parse, train, say how long it took."""
    options = parse()
    torch.set_num_threads(options.threads)
    start_s = time.monotonic()
    run(options)
    print(f"{(time.monotonic() - start_s) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
