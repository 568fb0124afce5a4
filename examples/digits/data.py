"""Real handwritten digits, dressed in styles.

scikit-learn ships 1,797 scans of 8 x 8 pixels. Each is enlarged to 64 x 64 through a
random affine map and a soft threshold, which gives smooth strokes of three widths;
ink and ground are then blended in. 1,500 scans train the model and the reader, 297
are held out from both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

from .words import GROUNDS, INKS, SIZES, STROKES, TILTS, Style

SIDE = 64  # pixels of a finished picture
TRAIN_COUNT = 1500
SCALE = dict(zip(SIZES, (0.62, 0.84, 1.02), strict=True))  # height of the scan / height of the picture
LEVEL = dict(zip(STROKES, (0.60, 0.46, 0.32), strict=True))  # threshold: lower is thicker
TILT = dict(zip(TILTS, (18.0, 0.0, -18.0), strict=True))  # degrees
SLOPE = 15.0  # of the soft threshold
COLOUR_JITTER = 0.015  # standard deviation, on a scale of 0..1


@dataclass(frozen=True)
class Scans:
    """The scans of one part of the split: (n, 1, 8, 8) in 0..1 and their labels."""

    images: Tensor
    labels: Tensor

    def indices(self, digits: Sequence[int], generator: torch.Generator) -> Tensor:
        """Draw one scan of each wanted digit."""
        draws = torch.rand(len(digits), generator=generator)
        pools = [torch.nonzero(self.labels == digit).flatten() for digit in range(10)]
        return torch.stack([pools[d][int(u * len(pools[d]))] for d, u in zip(digits, draws.tolist(), strict=True)])


def load_scans() -> tuple[Scans, Scans]:
    """The training scans and the held-out ones, split by a fixed shuffle."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(bunch.target).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, held = order[:TRAIN_COUNT], order[TRAIN_COUNT:]
    return Scans(images[train], labels[train]), Scans(images[held], labels[held])


def _uniform(count: int, spread: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * spread


def strokes(scans: Tensor, styles: Sequence[Style], generator: torch.Generator) -> Tensor:
    """Draw scans as smooth strokes.

    Args:
        scans: (n, 1, 8, 8) in 0..1.
        styles: One per scan; only size, stroke and tilt are used.
        generator: Source of the jitter.

    Returns:
        How much ink each pixel holds, (n, 1, 64, 64) in 0..1.
    """
    count = len(styles)
    scale = torch.tensor([SCALE[s.size] for s in styles]) * (1 + _uniform(count, 0.05, generator))
    angle = torch.tensor([TILT[s.tilt] for s in styles]) + _uniform(count, 5.0, generator)
    level = torch.tensor([LEVEL[s.stroke] for s in styles]) + _uniform(count, 0.02, generator)
    room = (1.1 - scale).clamp(min=0.04) * 0.35
    shift_x, shift_y = _uniform(count, 1.0, generator) * room, _uniform(count, 1.0, generator) * room

    angle, zoom = angle * math.pi / 180, 0.5 / scale  # the scan fills half of its padded frame
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [
            torch.stack([cos, -sin, -cos * shift_x + sin * shift_y], dim=1),
            torch.stack([sin, cos, -sin * shift_x - cos * shift_y], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(theta, [count, 1, SIDE, SIDE], align_corners=False)
    smooth = functional.grid_sample(functional.pad(scans, (4, 4, 4, 4)), grid, mode="bicubic", align_corners=False)
    return torch.sigmoid(SLOPE * (smooth - level.view(-1, 1, 1, 1)))


def _colours(table: dict[str, tuple[int, int, int]], names: Sequence[str], generator: torch.Generator) -> Tensor:
    base = torch.tensor([table[name] for name in names]).float() / 255
    jitter = torch.randn(len(names), 3, generator=generator) * COLOUR_JITTER
    return (base + jitter).clamp(0, 1).view(-1, 3, 1, 1)


def paint(ink: Tensor, styles: Sequence[Style], generator: torch.Generator) -> Tensor:
    """Blend the inks and grounds of styles by the ink each pixel holds: (n, 3, 64, 64) in -1..1."""
    fore = _colours(INKS, [s.ink for s in styles], generator)
    back = _colours(GROUNDS, [s.ground for s in styles], generator)
    return (back + (fore - back) * ink) * 2 - 1


def pictures(scans: Tensor, styles: Sequence[Style], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw scans in their styles.

    Returns:
        Pictures (n, 3, 64, 64) in -1..1 and the ink of each pixel (n, 1, 64, 64) in 0..1.
    """
    ink = strokes(scans, styles, generator)
    return paint(ink, styles, generator), ink
