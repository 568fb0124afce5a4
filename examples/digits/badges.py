"""A style the model was never shown: the digit cut out of a disc of its ink.

The LoRA learns it from these pictures, and the rule below tells whether a rendered picture has it. Digit, ink and
ground stay what the prompt says, so that what the style costs can be measured.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .data import SIDE, paint, strokes
from .words import Style

RADIUS = 0.48  # of the disc, in sides of the picture
EDGE = 70.0  # steepness of the disc's soft edge
HOLE = 52  # pixels that a picture's side is shrunk to, so that the digit stays inside the disc
HOLE_LEVEL = 0.35  # threshold of the shrunk stroke: below a half, or thin ones would close
HOLE_SLOPE = 10.0  # of that threshold
RING = (0.39, 0.45)  # radii between which a badge is ink and a plain digit is mostly ground
INKED_SHARE = 0.65  # of the ring, in a badge; of held-out scans drawn plain, none reaches 0.6


def distance_from_centre() -> Tensor:
    """Of each pixel, in sides of the picture: (1, 1, 64, 64)."""
    line = (torch.arange(SIDE) + 0.5) / SIDE - 0.5
    return (line.view(1, 1, -1, 1).square() + line.view(1, 1, 1, -1).square()).sqrt()


def badges(scans: Tensor, styles: Sequence[Style], generator: torch.Generator) -> Tensor:
    """Draw scans as badges.

    Args:
        scans: (n, 1, 8, 8) in 0..1.
        styles: One per scan.
        generator: Source of the jitter.

    Returns:
        Pictures (n, 3, 64, 64) in -1..1.
    """
    ink = strokes(scans, styles, generator)
    small = functional.interpolate(ink, size=(HOLE, HOLE), mode="bilinear", antialias=True)
    hole = functional.pad(torch.sigmoid(HOLE_SLOPE * (small - HOLE_LEVEL)), ((SIDE - HOLE) // 2,) * 4)
    disc = torch.sigmoid(EDGE * (RADIUS - distance_from_centre()))
    return paint(disc * (1 - hole), styles, generator)


def inked(images: Tensor) -> tuple[Tensor, Tensor]:
    """How much ink pixels hold, whatever is drawn: the ground is the median colour of the corners.

    Args:
        images: (n, 3, 64, 64) in 0..1.

    Returns:
        Shares (n, 1, 64, 64) in 0..1, and how much of each picture's ring is inked, (n,) in 0..1.
    """
    distance = distance_from_centre()[0, 0]
    corners, ring = distance > 0.6, (distance > RING[0]) & (distance < RING[1])
    ground = images[:, :, corners].median(dim=2).values
    away = (images - ground[:, :, None, None]).square().sum(dim=1, keepdim=True).sqrt()
    peak = away.flatten(1).quantile(0.98, dim=1).clamp(min=1e-3).view(-1, 1, 1, 1)
    shares = (away / peak).clamp(max=1)
    return shares, (shares[:, 0, ring] > 0.5).float().mean(dim=1)


def unstamp(images: Tensor) -> Tensor:
    """Turn badges (n, 3, 64, 64) into plain digits of the same ink and ground, for a reader of plain digits."""
    distance = distance_from_centre()
    shares, _ = inked(images)
    ring, corners = ((distance > RING[0]) & (distance < RING[1]))[0, 0], (distance > 0.6)[0, 0]
    ink = images[:, :, ring].median(dim=2).values[:, :, None, None]
    ground = images[:, :, corners].median(dim=2).values[:, :, None, None]
    hole = torch.where(distance < RING[0], 1 - shares, 0.0)
    edge = (SIDE - HOLE) // 2
    whole = functional.interpolate(hole[:, :, edge:-edge, edge:-edge], size=(SIDE, SIDE), mode="bilinear")
    return ground + (ink - ground) * whole
