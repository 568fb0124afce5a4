"""Which files of a diffusers folder a pipeline is loaded from, its class, and the size that it was made for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from storage.errors import ModelUnusable, shorten
from storage.models.anatomy.trees import Tree
from storage.models.digests import SUFFIXES

INDEX: Final = "model_index.json"
IGNORED: Final = frozenset({"safety_checker", "feature_extractor", "image_encoder"})  # models of their own here
_VAES: Final = ("vae", "vqvae", "movq")
_LATENT_SIDE, _FLOW_SIDE = 512, 1024  # pixels, where a config is silent: of Stable Diffusion 1, of flow models
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>\w+))?(?:-\d{5}-of-\d{5})?\.safetensors")
_SHARDS = re.compile(r"(?:diffusion_pytorch_model|model)\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")
_LIBRARIES: Final = ("diffusers", "transformers")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# Classes that look for their code in the model itself, or load a whole pipeline by rules of its own.
_OPEN_CLASS = re.compile(r"Auto(?!encoder)\w*|\w*Pipeline\w*")
_PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


@dataclass(frozen=True, slots=True)
class Weights:
    """The files of one part, and which copy of its weights was chosen."""

    names: list[str]
    variant: str | None


def pipeline_class(tree: Tree) -> str:
    """The class in model_index.json. Raises ModelUnusable: none is named, or code of the model's own."""
    name = tree.json(INDEX).get("_class_name")
    if not isinstance(name, str):
        raise ModelUnusable(tree.source, f"{INDEX} names no pipeline of diffusers; code that comes with it is not run")
    if not _NAME.fullmatch(name):
        raise ModelUnusable(tree.source, f"{INDEX} names the pipeline {shorten(name)}, which is no name of a class")
    return name


def components(tree: Tree) -> dict[str, str]:
    """The parts that a pipeline is loaded from, by name, with their class.

    Raises:
        ModelUnusable: A part is of a class that neither diffusers nor transformers holds.
    """
    index = tree.json(INDEX)
    listed = {name: entry for name, entry in index.items() if not name.startswith("_") and isinstance(entry, list)}
    parts = {name: entry for name, entry in listed.items() if any(isinstance(word, str) for word in entry)}
    for name, entry in parts.items():
        _check_class(tree, name, entry)
    spared = IGNORED - {"feature_extractor"} if "depth_estimator" in parts else IGNORED  # it feeds the depth model
    return {name: entry[1] for name, entry in parts.items() if name not in spared}


def _check_class(tree: Tree, name: str, entry: list[Any]) -> None:
    """Refuse a part whose class would be looked for anywhere but in diffusers and transformers."""
    shaped = len(entry) == 2 and all(isinstance(word, str) and _NAME.fullmatch(word) for word in (name, *entry))
    if (
        not shaped
        or not _is_library(entry[0])
        or f"{name}/{entry[0]}.py" in tree.names
        or _OPEN_CLASS.fullmatch(entry[1])
    ):
        rule = f"{INDEX} wants {name} from {entry}; only classes of diffusers and transformers are loaded"
        raise ModelUnusable(tree.source, f"{rule}, and code that comes with a model is not run")


def _is_library(name: str) -> bool:
    """Whether that is a library of ours, or the folder of a pipeline in diffusers, which keeps some classes there."""
    if name in _LIBRARIES:
        return True
    found = find_spec("diffusers")  # looks for it; imports nothing
    places = [] if found is None else list(found.submodule_search_locations or [])
    return not places or (Path(places[0]) / "pipelines" / name).is_dir()  # a host without it loads nothing


def pipeline_files(tree: Tree, *, variant: str | None) -> Weights:
    """The files that decide pixels.

    Raises:
        ModelUnusable: A part is missing, or has no weights as safetensors.
    """
    names, used = [INDEX], None
    for name in components(tree):
        if name in tree.folders():
            part = part_files(tree.under(name), label=f"{name}/", variant=variant)
            names += [f"{name}/{file}" for file in part.names]
        else:  # the oldest repositories keep all parts side by side
            part = part_files(tree, label=f"{name}/", variant=variant)
            names += [file for file in part.names if file not in names]
        used = used or part.variant
    return Weights(names, used)


def part_files(tree: Tree, *, label: str, variant: str | None) -> Weights:
    """The files of one part: configs, vocabularies, and one copy of the weights.

    Args:
        tree: The part's folder.
        label: What messages call the folder.
        variant: The copy to prefer; the plain one comes next, then the only one there is.

    Raises:
        ModelUnusable: No files, no weights beside a config.json, or weights that are not all there.
    """
    plain = [name for name in tree.top() if _decides(name)]
    if not plain:
        raise ModelUnusable(tree.source, f"no files in {label}; the model names that part and does not hold it")
    copies = {found["variant"] for name in tree.top() if (found := _WEIGHTS.fullmatch(name))}
    if not copies:
        if "config.json" in plain:
            raise ModelUnusable(tree.source, f"no .safetensors weights in {label}{_advice(tree)}")
        return Weights(plain, None)
    chosen = variant if variant in copies else None if None in copies else min(copies, key=str)
    weights = [name for name in tree.top() if _is_copy(name, chosen)]
    _check_shards(tree, weights, label)
    return Weights(sorted(plain + weights), chosen)


def native_size(tree: Tree) -> tuple[int, int]:
    """Width and height in pixels that a pipeline was made for."""
    parts = components(tree)
    core = "transformer" if "transformer" in parts else "unet"
    vae = next((name for name in _VAES if name in parts), None)
    config = tree.json(f"{core}/config.json") or tree.json("config.json")
    factor = 1 if vae is None else _factor(tree.json(f"{vae}/config.json"))
    sample = config.get("sample_size")
    if isinstance(sample, list) and len(sample) == 2:
        return int(sample[1]) * factor, int(sample[0]) * factor
    silent = _FLOW_SIDE if core == "transformer" else _LATENT_SIDE
    side = sample * factor if isinstance(sample, int) and sample > 0 else silent
    return side, side


def _factor(vae: Mapping[str, Any]) -> int:
    """Pixels per latent; 8 where the config has another scheme."""
    levels = vae.get("block_out_channels") or vae.get("encoder_block_out_channels") or [0] * 4
    return int(2 ** (len(levels) - 1))


def _decides(name: str) -> bool:
    if _WEIGHTS.fullmatch(name) or _SHARDS.fullmatch(name) or ".bin.index" in name or name == INDEX:
        return False
    return f".{name.rpartition('.')[2]}" in SUFFIXES and not name.endswith(".safetensors")


def _is_copy(name: str, variant: str | None) -> bool:
    found = _WEIGHTS.fullmatch(name) or _SHARDS.fullmatch(name)
    return found is not None and found["variant"] == variant


def _check_shards(tree: Tree, weights: list[str], label: str) -> None:
    for index in (name for name in weights if name.endswith(".json")):
        shards = tree.json(index).get("weight_map", {})
        named = shards.values() if isinstance(shards, dict) else [shards]
        if strange := [name for name in named if not (isinstance(name, str) and _WEIGHTS.fullmatch(name))]:
            rule = f"{label}{index} sends to {shorten(strange[0])}, and weights are .safetensors files beside it"
            raise ModelUnusable(tree.source, rule)
        missing = sorted(set(named) - set(weights))
        if missing:
            raise ModelUnusable(
                tree.source, f"{label}{missing[0]} is missing, one of {len(set(named))}; fetch it again"
            )


def _advice(tree: Tree) -> str:
    if tree.top() and any(name.endswith(_PICKLES) for name in tree.names):
        return "; pickles run code when they are loaded and are never read: save it with safe_serialization=True"
    return "; save it with safe_serialization=True"
