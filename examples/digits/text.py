"""Captions, and the text encoder that learns to carry them.

Stable Diffusion takes a text encoder that already knows words; ours starts from nothing.
Left to the UNet's loss alone it learns inks within minutes and all but ignores the
digit, whose share of that loss is small. So it is trained first, on words only: every
token from the end mark on must tell each attribute through a linear map. It is then
frozen, as Stable Diffusion's is.
"""

import random
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from .loop import Draw, Stage, train
from .words import DIGITS, GROUNDS, INKS, SIZES, STROKES, TILTS, Style, phrase, random_style

EMPTY_SHARE = 0.08  # prompts left empty for classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598)
NUMERAL_SHARE = 0.15
DROP = (0.0, 0.0, 0.25, 0.5)  # chance of leaving a word out, drawn anew for each prompt
INK_DROP = 0.4  # times that: a lost ink costs more than a lost size
CHOICES = {
    "digit": (*range(len(DIGITS)), None),
    "ink": (*INKS, ""),
    "ground": (*GROUNDS, ""),
    "size": SIZES,
    "stroke": STROKES,
    "tilt": TILTS,
}


def heard(style: Style, rng: random.Random) -> Style | None:
    """What a user might have said of a style: words left out, or nothing at all."""
    if rng.random() < EMPTY_SHARE:
        return None
    drop = rng.choice(DROP)

    def said(word: str, chance: float = drop) -> str:
        return "" if rng.random() < chance else word

    return Style(
        digit=style.digit,
        ink=said(style.ink, drop * INK_DROP),
        ground=said(style.ground),
        size=said(style.size),
        stroke=said(style.stroke),
        tilt=said(style.tilt),
    )


def caption(style: Style | None, rng: random.Random) -> str:
    """The words for what was heard."""
    return "" if style is None else phrase(style, numeral=rng.random() < NUMERAL_SHARE)


def tokens(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """Token ids, all of the same length, as the pipeline makes them."""
    return tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def _labels(styles: list[Style | None], attribute: str) -> Tensor:
    missing = None if attribute == "digit" else ""
    values = [missing if style is None else getattr(style, attribute) for style in styles]
    return torch.tensor([CHOICES[attribute].index(value) for value in values])


def train_text(encoder: CLIPTextModel, tokenizer: CLIPTokenizer, *, stage: Stage, folder: Path) -> None:
    """Teach the encoder to put every attribute into every token from the end mark on."""
    width = encoder.config.hidden_size
    heads = nn.ModuleDict({name: nn.Linear(width, len(choices)) for name, choices in CHOICES.items()})

    def loss_of(draw: Draw) -> Tensor:
        said = [heard(random_style(draw.rng), draw.rng) for _ in range(stage.batch)]
        ids = tokens(tokenizer, [caption(style, draw.rng) for style in said])
        ending = ids == tokenizer.eos_token_id  # padding is the same token
        hidden = encoder(ids)[0][ending]
        owner = torch.nonzero(ending)[:, 0]
        losses = [functional.cross_entropy(head(hidden), _labels(said, name)[owner]) for name, head in heads.items()]
        return torch.stack(losses).mean()

    train(nn.ModuleDict({"text_encoder": encoder, "heads": heads}), loss_of, stage=stage, folder=folder)
    encoder.requires_grad_(False)
