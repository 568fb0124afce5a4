"""Draw the pictures that the examples start from: sketches, a mask, a still life with its depth.

python -m examples.inputs.draw
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SIDE = 64  # pixels of the digits model
FINE = 4  # drawn that much larger, then made smaller: smooth edges
WIDTH = 11  # pixels of a stroke
Points = list[tuple[int, int]]


def sketch(name: str, points: Points, ink: str) -> None:
    """A line through points (x, y in pixels) with round ends, on white."""
    picture = Image.new("RGB", (SIDE * FINE, SIDE * FINE), "white")
    pen, wide = ImageDraw.Draw(picture), WIDTH * FINE / 2
    large = [(x * FINE, y * FINE) for x, y in points]
    pen.line(large, fill=ink, width=WIDTH * FINE, joint="curve")
    for x, y in (large[0], large[-1]):
        pen.ellipse((x - wide, y - wide, x + wide, y + wide), fill=ink)
    picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(HERE / name, optimize=True)


def ring(name: str, ink: str) -> None:
    """A ring on white."""
    picture = Image.new("RGB", (SIDE * FINE, SIDE * FINE), "white")
    ImageDraw.Draw(picture).ellipse((60, 40, 196, 216), outline=ink, width=10 * FINE)
    picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(HERE / name, optimize=True)


def digit(name: str, prompt: str, *, seed: int) -> None:
    """What the digits model draws."""
    pipeline = DiffusionPipeline.from_pretrained(HERE.parent / "digits" / "model")
    generator = torch.Generator().manual_seed(seed)
    picture = pipeline(prompt, guidance_scale=5, num_inference_steps=20, generator=generator).images[0]
    picture.save(HERE / name, optimize=True)


def mask(name: str) -> None:
    """White, which is repainted, in the lower half."""
    picture = Image.new("1", (SIDE, SIDE))
    picture.paste(1, (0, SIDE // 2, SIDE, SIDE))
    picture.save(HERE / name, optimize=True)


def still_life(name: str, depth_name: str, *, side: int = 128) -> None:
    """Two balls on a table before a wall, and how near each pixel is (white: nearest)."""
    y, x = np.mgrid[0:side, 0:side] / side
    depth = np.where(y > 0.55, 0.25 + (y - 0.55) * 1.2, 0.12)
    colour = np.where((y > 0.55)[..., None], (168, 124, 84), (196, 206, 214)).astype(float)
    for centre_x, centre_y, radius, near, ink in (
        (0.34, 0.5, 0.2, 0.5, (200, 60, 50)),
        (0.68, 0.64, 0.15, 0.75, (60, 90, 180)),
    ):
        square = 1 - ((x - centre_x) ** 2 + (y - centre_y) ** 2) / radius**2
        bulge = np.sqrt(square.clip(0))
        light = (bulge - 0.6 * (x - centre_x) / radius - 0.6 * (y - centre_y) / radius).clip(0.15, 1.2)
        inside = square > 0
        colour[inside] = (np.array(ink) * light[..., None]).clip(0, 255)[inside]
        depth = np.where(inside, near + 0.25 * bulge, depth)
    Image.fromarray(colour.astype(np.uint8)).quantize(24).save(HERE / name, optimize=True)
    Image.fromarray((depth.clip(0, 1) * 31).round().astype(np.uint8) * 8).save(HERE / depth_name, optimize=True)


def main() -> None:
    """All of them."""
    sketch("stick.png", [(32, 10), (32, 54)], "#de1024")
    sketch("corner.png", [(16, 14), (46, 14), (30, 54)], "#1854f6")
    ring("ring.png", "#10a83c")
    digit("five.png", "a big white five on navy", seed=5)
    mask("lower-half.png")
    still_life("still-life.png", "still-life-depth.png")


if __name__ == "__main__":
    main()
