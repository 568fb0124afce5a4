"""Train the digits model from scratch on two CPU cores.

    python -m examples.digits.train

Run it from the repository's root, or as a crew of two processes (crew.py):

    torchrun --nproc-per-node 2 -m examples.digits.train --threads 1

The VAE comes first and encodes a pool of pictures;
then the text encoder, the UNet on pool and words, and the VAE's decoder once more with
its encoder frozen. Killed at any time, the same command goes on from its checkpoint.
"""

import argparse
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from . import crew
from .data import Scans, load_scans, pictures
from .loop import Draw, Stage, train
from .model import assemble, build_scheduler, build_text_encoder, build_tokenizer, build_unet, build_vae, save
from .text import caption, heard, tokens, train_text
from .words import random_style, styles

HERE = Path(__file__).parent
STROKE_WEIGHT = 2.0  # strokes cover a fifth of a picture and carry all of the digit
KL_WEIGHT = 1e-3
Words = tuple[CLIPTokenizer, CLIPTextModel]


def _fresh(scans: Scans, count: int, draw: Draw) -> tuple[Tensor, Tensor]:
    wanted = [random_style(draw.rng) for _ in range(count)]
    chosen = scans.indices([style.digit for style in wanted], draw.generator)
    return pictures(scans.images[chosen], wanted, draw.generator)


def _distance(made: Tensor, real: Tensor, ink: Tensor) -> Tensor:
    error = made - real
    return ((error.abs() + error.square()) * (1 + (STROKE_WEIGHT - 1) * ink)).mean()


def train_vae(vae: AutoencoderKL, scans: Scans, *, stage: Stage, folder: Path) -> None:
    """Both halves of the VAE, with a light pull of the latents to a normal."""

    def loss_of(draw: Draw) -> Tensor:
        real, ink = _fresh(scans, stage.batch, draw)
        latents = vae.encode(real).latent_dist
        noise = torch.randn(latents.mean.shape, generator=draw.generator)
        made = vae.decode(latents.mean + latents.std * noise).sample
        return _distance(made, real, ink) + KL_WEIGHT * latents.kl().mean() / latents.mean[0].numel()

    train(nn.ModuleDict({"vae": vae}), loss_of, stage=stage, folder=folder)


def train_decoder(vae: AutoencoderKL, scans: Scans, *, stage: Stage, folder: Path) -> None:
    """The decoder alone, on latents as wrong as sampling makes them.

    Guidance overshoots and few steps leave noise, so latents are stretched and blurred by
    noise here: the decoder learns to snap them back to strokes and colours of the palette.
    The noise is in units of standardised latents.
    """
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(False)

    def loss_of(draw: Draw) -> Tensor:
        real, ink = _fresh(scans, stage.batch, draw)
        with torch.no_grad():
            latents = vae.encode(real).latent_dist.mean
        shape = (stage.batch, 1, 1, 1)
        stretch = 1 + 0.2 * torch.rand(shape, generator=draw.generator)
        noise = torch.randn(latents.shape, generator=draw.generator)
        level = 0.3 * torch.rand(shape, generator=draw.generator)
        return _distance(vae.decode(latents * stretch + level * noise).sample, real, ink)

    train(nn.ModuleDict({"vae": vae}), loss_of, stage=stage, folder=folder)
    vae.requires_grad_(True)


@torch.no_grad()
def fill_pool(vae: AutoencoderKL, scans: Scans, *, count: int, seed: int, path: Path) -> tuple[Tensor, Tensor]:
    """Encode pictures once: means and deviations, two (count, 4, 8, 8).

    Picture i wears style i of `styles(seed)`.
    """
    if path.exists():
        pool = torch.load(path)
        if len(pool["mean"]) == count:
            return pool["mean"], pool["std"]
    source, draw = styles(seed), Draw.of(seed, 0)
    means, deviations = [], []
    for start in range(0, count, 100):
        wanted = [next(source) for _ in range(min(100, count - start))]
        chosen = scans.indices([style.digit for style in wanted], draw.generator)
        latents = vae.encode(pictures(scans.images[chosen], wanted, draw.generator)[0]).latent_dist
        means.append(latents.mean)
        deviations.append(latents.std)
    pool = {"mean": torch.cat(means), "std": torch.cat(deviations)}
    if not crew.rank():
        torch.save(pool, path)
    return pool["mean"], pool["std"]


@torch.no_grad()
def standardise(vae: AutoencoderKL, means: Tensor, deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Give every latent channel mean 0 and variance 1, the noise's own.

    Stable Diffusion scales all channels by one number. Ours differ threefold, so each is
    shifted and scaled inside the two 1 x 1 convolutions about the latents, and
    `scaling_factor` is 1. The pictures the VAE makes stay the same.

    Returns:
        The pool in the new units.
    """
    centre = means.mean(dim=(0, 2, 3))
    spread = (means.var(dim=(0, 2, 3)) + deviations.square().mean(dim=(0, 2, 3))).sqrt()
    channels = len(centre)
    into, out_of = vae.quant_conv, vae.post_quant_conv
    into.weight[:channels] /= spread.view(-1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - centre) / spread
    into.bias[channels:] -= 2 * spread.log()  # the other half is the log of the variance
    out_of.bias += (out_of.weight[:, :, 0, 0] * centre).sum(dim=1)
    out_of.weight *= spread.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=1.0)
    shape = (1, -1, 1, 1)
    return (means - centre.view(shape)) / spread.view(shape), deviations / spread.view(shape)


def train_unet(
    unet: UNet2DConditionModel, words: Words, pool: tuple[Tensor, Tensor], *, stage: Stage, folder: Path
) -> None:
    """The UNet under frozen words: velocity loss, all noise levels weighted alike.

    Args:
        unet: Ours.
        words: Tokenizer and trained text encoder.
        pool: Means and deviations of standardised latents.
        stage: Its seed also names the styles of the pool.
        folder: Of the checkpoint.
    """
    tokenizer, encoder = words
    means, deviations = pool
    source = styles(stage.seed)
    worn = [next(source) for _ in range(len(means))]
    alphas = build_scheduler().alphas_cumprod

    def loss_of(draw: Draw) -> Tensor:
        chosen = torch.randint(len(means), (stage.batch,), generator=draw.generator)
        prompts = [caption(heard(worn[i], draw.rng), draw.rng) for i in chosen.tolist()]
        noise, blur = torch.randn((2, stage.batch, *means.shape[1:]), generator=draw.generator)
        clean = means[chosen] + deviations[chosen] * blur
        # One time per equal slice of the schedule: less noise in the loss than free draws.
        slices = torch.arange(stage.batch) + torch.rand(stage.batch, generator=draw.generator)
        times = (slices / stage.batch * len(alphas)).long().clamp(max=len(alphas) - 1)
        signal = alphas[times].sqrt().view(-1, 1, 1, 1)
        fuzz = (1 - alphas[times]).sqrt().view(-1, 1, 1, 1)
        with torch.no_grad():
            hidden = encoder(tokens(tokenizer, prompts))[0]
        made = unet(signal * clean + fuzz * noise, times, encoder_hidden_states=hidden).sample
        return (made - (signal * noise - fuzz * clean)).square().mean()

    train(nn.ModuleDict({"unet": unet}), loss_of, stage=stage, folder=folder)


def run(options: argparse.Namespace) -> None:
    """All stages, then the finished folder."""
    torch.manual_seed(options.seed)
    scans, _ = load_scans()
    tokenizer, vae, unet = build_tokenizer(), build_vae(), build_unet()
    text_encoder = build_text_encoder(tokenizer)
    folder: Path = options.work
    folder.mkdir(parents=True, exist_ok=True)
    vae_batch, unet_batch = options.vae_batch // crew.size(), options.unet_batch // crew.size()
    common = {"seed": options.seed, "save_every_s": options.save_every}

    stage = Stage(name="vae", steps=options.vae_steps, batch=vae_batch, peak=3e-3, ema=0.99, **common)
    train_vae(vae, scans, stage=stage, folder=folder)
    mean, std = fill_pool(vae, scans, count=options.pool, seed=options.seed, path=folder / "pool.pt")
    pool = standardise(vae, mean, std)

    stage = Stage(name="text", steps=options.text_steps, batch=unet_batch, peak=2e-3, ema=0.99, **common)
    train_text(text_encoder, tokenizer, stage=stage, folder=folder)
    stage = Stage(name="unet", steps=options.unet_steps, batch=unet_batch, peak=1.6e-3, ema=0.998, **common)
    train_unet(unet, (tokenizer, text_encoder), pool, stage=stage, folder=folder)
    stage = Stage(name="decoder", steps=options.decoder_steps, batch=vae_batch, peak=2e-3, ema=0.99, **common)
    train_decoder(vae, scans, stage=stage, folder=folder)

    pipeline = assemble(vae=vae, tokenizer=tokenizer, unet=unet, text_encoder=text_encoder)
    if not crew.rank():
        print(f"{options.out}: {save(pipeline, options.out) / 1e6:.2f} MB", flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; the defaults are the sizes the bundled model was trained with."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="folder of checkpoints")
    parser.add_argument("--out", type=Path, default=HERE / "model", help="folder of the finished model")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data and noise")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--vae-steps", type=int, default=1500, help="steps of the VAE")
    parser.add_argument("--text-steps", type=int, default=600, help="steps of the text encoder")
    parser.add_argument("--unet-steps", type=int, default=4500, help="steps of the UNet")
    parser.add_argument("--decoder-steps", type=int, default=1200, help="steps of the decoder alone")
    parser.add_argument("--vae-batch", type=int, default=16, help="pictures per step of VAE and decoder")
    parser.add_argument("--unet-batch", type=int, default=64, help="latents per step of the UNet")
    parser.add_argument("--pool", type=int, default=30_000, help="pictures encoded for the UNet")
    return parser.parse_args(arguments)


def main() -> None:
    """Parse, train, say how long it took."""
    options = parse()
    torch.set_num_threads(options.threads)
    start_s = time.monotonic()
    crew.join()
    run(options)
    crew.leave()
    print(f"{(time.monotonic() - start_s) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
