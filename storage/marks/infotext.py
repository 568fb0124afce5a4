"""The `parameters` text that the web UI of AUTOMATIC1111 (A1111) and its many readers know: a courtesy copy.

It is lossy, the record is not; docs/image-files.md lists what it loses. Its grammar: the prompt, a line "Negative
prompt: ...", and one last line of at least three "Key: value" pairs, where a value with a comma, colon or line break
is a JSON string. `Hashes` alone is bare JSON, since its readers look for `, Hashes: {...}`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from storage.marks.record import SOFTWARE, Marks, software_version
from storage.marks.samplers import sampler_name, schedule_type

NEGATIVE: Final = "Negative prompt:"
_SHORT: Final = 10  # hex digits of a hash
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_QUOTED = re.compile(r"[,:\n]")


def infotext_of(marks: Marks) -> str | None:
    """The text for a file; None where prompts are not disclosed."""
    if not marks.discloses:
        return None
    said = _prompts(marks.recipe)
    return f"{said}\n{_pairs(marks.recipe)}" if said else _pairs(marks.recipe)


def _prompts(recipe: Mapping[str, Any]) -> str:
    prompt, negative = _clean(recipe.get("prompt")), _clean(recipe.get("negative_prompt"))
    return f"{prompt}\n{NEGATIVE} {negative}" if negative else prompt


def _clean(text: str | None) -> str:
    """A prompt that no reader takes for something else: it must not hold the words that begin the negative one."""
    plain = (text or "").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(" ", plain).replace(NEGATIVE, "Negative prompt :").strip()


def _pairs(recipe: Mapping[str, Any]) -> str:
    line = ", ".join(f"{key}: {_value(value)}" for key, value in _fields(recipe) if value is not None)
    hashes = _hashes(recipe)
    return f"{line}, Hashes: {json.dumps(hashes)}" if hashes else line


def _fields(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys in the order of A1111."""
    scheduler, skipped = recipe.get("scheduler"), recipe.get("clip_skip") or 0
    yield "Steps", recipe["steps"]
    yield "Sampler", sampler_name(scheduler)
    yield "Schedule type", schedule_type(scheduler)
    yield "CFG scale", recipe.get("guidance_scale")
    yield "Seed", recipe["seed"]
    yield "Size", f"{recipe['width']}x{recipe['height']}"
    yield "Model hash", _short(recipe.get("model"))
    yield "VAE hash", _short(recipe.get("vae"))
    yield "Denoising strength", recipe.get("strength")
    yield "Mask blur", recipe.get("mask_blur")
    yield (
        "Clip skip",
        skipped + 1 if skipped > 0 else None,
    )  # A1111 counts from the last layer, diffusers what is left out
    yield "Init image hash", _short(recipe.get("init_image"))
    yield "RNG", "CPU"
    yield "Lora hashes", ", ".join(f"{name}: {found}" for name, found in _loras(recipe)) or None
    yield "Version", f"{SOFTWARE} {software_version()}"


def _hashes(recipe: Mapping[str, Any]) -> dict[str, str]:
    """As the Civitai extension writes them."""
    said = {key: _short(recipe.get(key)) for key in ("model", "vae")}
    said |= {f"lora:{name}": found for name, found in _loras(recipe)}
    said |= {f"embed:{entry['token']}": _short(entry["model"]) for entry in recipe.get("embeddings", [])}
    return {key: found for key, found in said.items() if found is not None and "}" not in key}  # it ends the list


def _loras(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A recipe knows LoRAs by digest alone, so they are counted."""
    hashes = [_short(entry["model"]) or "" for entry in recipe.get("loras", [])]
    return [(f"lora_{place}", found) for place, found in enumerate(hashes, start=1)]


def _short(digest: str | None) -> str | None:
    return None if digest is None else digest.removeprefix("sha256:")[:_SHORT]


def _value(value: object) -> str:
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else repr(value)
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if _QUOTED.search(text) else text
