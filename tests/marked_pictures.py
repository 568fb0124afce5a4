"""Recipes and pictures for tests of what is written into files."""

from typing import Any

from PIL import Image

from storage.marks import Encoding, Marks

MODEL = f"sha256:{'a1' * 32}"
ENCODINGS = (Encoding(), Encoding("jpeg"), Encoding("webp"), Encoding("webp", lossless=True))
RECIPE: dict[str, Any] = {
    "schema": 2, "mode": "text-to-image", "model": MODEL, "prompt": "a fox", "negative_prompt": "a hound", "seed": 7,
    "steps": 20, "guidance_scale": 7.5, "width": 64, "height": 48,
    "scheduler": {"class": "EulerAncestralDiscreteScheduler", "options": {}},
}  # fmt: skip
PLAN = {"device_type": "cpu", "dtype": "float32", "batch": 2}
LIBRARIES = {"torch": "2.9.0", "diffusers": "0.42.1"}
ODD_PROMPTS = {
    "emoji": "a fox 🦊 and 👩‍👩‍👧",
    "lines": "a fox\n  in the snow\n\nat night",
    "negative line": "a fox\nNegative prompt: a hound\nat night",
    "negative word": "a fox, Negative prompt: no",
    "commas and colons": 'red: "blue", (green:1.3), a\\b, Steps: 9, Sampler: x, Seed: 1',
    "pairs on the last line": "a fox\nSteps: 9, Sampler: x, CFG scale: 1, Seed: 1",
    "markup": "<b>&amp; ]]> <?xpacket end='w'?> </rdf:RDF>",
    "controls": "a\x01fox\x1b[31m\x85\x9f",
    "not of XML": "a \ufffe fox \uffff",
    "carriage returns": "a\r\nfox\rhere",
    "ten kilobytes": "a fox, red and 狐 " * 500,
    "Chinese": "一只狐狸",
    "Latin-1": "ein Füchslein, élan",
    "empty": "",
    "blank": "   ",
}


def recipe(**changes: Any) -> dict[str, Any]:
    """A recipe with changes; None takes a key out."""
    return {key: value for key, value in {**RECIPE, **changes}.items() if value is not None}


def marks(*, level: Any = "full", prompts: bool = True, **changes: Any) -> Marks:
    """The marks of a picture of `recipe(**changes)`."""
    return Marks(recipe=recipe(**changes), plan=PLAN, libraries=LIBRARIES, level=level, prompts=prompts)


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """A picture with structure: a lossy format changes it."""
    slope = Image.linear_gradient("L").resize((width, height))
    other = Image.radial_gradient("L").resize((width, height))
    return Image.merge("RGB", (slope, other, slope.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
