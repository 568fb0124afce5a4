"""A reader that names the digit, the ink and the ground of a picture.

It judges the model, so it must not learn from it: the network sees real scans only,
and the colours are read by rule, as the nearest name in the palette. It is no part of
the model and is not shipped; training it takes about a minute.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .data import Scans, load_scans, pictures
from .words import GROUNDS, INKS, Style, random_style

FRAME = 3  # pixels along the edge that show the ground
STROKE_SHARE = 0.02  # of the pixels: no digit is thinner
FULL_INK = 0.75  # of the way from ground to ink: past the soft edge of a stroke


@dataclass(frozen=True)
class Reading:
    """What was read of one picture."""

    digit: int
    ink: str
    ground: str

    def agrees(self, style: Style) -> tuple[bool, bool, bool]:
        """Digit, ink and ground right?"""
        return self.digit == style.digit, self.ink == style.ink, self.ground == style.ground


def _nearest(colours: Tensor, table: dict[str, tuple[int, int, int]]) -> list[str]:
    names = list(table)
    palette = torch.tensor([table[name] for name in names]).float() / 255
    return [names[i] for i in torch.cdist(colours, palette).argmin(dim=1).tolist()]


def separate(images: Tensor) -> tuple[Tensor, list[str], list[str]]:
    """Part ink from ground.

    The ground is the median colour of the frame; the stroke is what differs from it most.

    Args:
        images: (n, 3, 64, 64) in 0..1.

    Returns:
        How far each pixel is from ground to ink, (n, 1, 64, 64) in 0..1, ink names, ground names.
    """
    frame = torch.ones(images.shape[-2:], dtype=torch.bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    ground = images[:, :, frame].median(dim=2).values
    distance = (images - ground[:, :, None, None]).square().sum(dim=1).sqrt().flatten(1)
    peak = distance.quantile(1 - STROKE_SHARE, dim=1, keepdim=True).clamp(min=1e-3)
    share = (distance / peak).clamp(max=1)
    inks = [
        image.flatten(1)[:, full].median(dim=1).values for image, full in zip(images, share > FULL_INK, strict=True)
    ]
    mask = share.view(len(images), 1, *images.shape[-2:])
    return mask, _nearest(torch.stack(inks), INKS), _nearest(ground, GROUNDS)


def build_network() -> nn.Sequential:
    """Three convolutions on the 32 x 32 mask: 34,000 parameters."""
    layers: list[nn.Module] = [nn.AvgPool2d(2)]
    for wide_in, wide_out in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(wide_in, wide_out, 3, padding=1), nn.BatchNorm2d(wide_out), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(1024, 10))


def dressed(scans: Scans, indices: Sequence[int], *, seed: int) -> tuple[Tensor, list[Style]]:
    """Real scans in random styles of their own digit, as pictures (n, 3, 64, 64) in 0..1."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    worn = []
    for index in indices:
        style = random_style(rng)
        worn.append(
            Style(
                digit=int(scans.labels[index]),
                ink=style.ink,
                ground=style.ground,
                size=style.size,
                stroke=style.stroke,
                tilt=style.tilt,
            )
        )
    drawn, _ = pictures(scans.images[list(indices)], worn, generator)
    return (drawn + 1) / 2, worn


def train_network(scans: Scans, *, steps: int = 1200, batch: int = 64, seed: int = 0) -> nn.Sequential:
    """Learn digits from real scans in every style, a little blurred and noisy now and then."""
    torch.manual_seed(seed)
    network = build_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for step in range(steps):
        indices = torch.randint(len(scans.labels), (batch,)).tolist()
        images, worn = dressed(scans, indices, seed=seed * 1_000_003 + step)
        if step % 2:
            images = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
            images = images + 0.02 * torch.randn_like(images)
        truth = torch.tensor([style.digit for style in worn])
        loss = functional.cross_entropy(network(separate(images)[0]), truth, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


class Reader:
    """Names digit, ink and ground of pictures."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()

    @classmethod
    def at(cls, path: Path) -> "Reader":
        """The reader kept at a path; trained and kept there on the first call."""
        if path.exists():
            network = build_network()
            network.load_state_dict(torch.load(path))
            return cls(network)
        network = train_network(load_scans()[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), path)
        return cls(network)

    @torch.no_grad()
    def read(self, images: Tensor) -> list[Reading]:
        """Read pictures (n, 3, 64, 64) in 0..1."""
        mask, inks, grounds = separate(images)
        digits = self.network(mask).argmax(dim=1).tolist()
        return [Reading(*found) for found in zip(digits, inks, grounds, strict=True)]
