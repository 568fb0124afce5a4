"""From the name of a model to a folder on this host: a folder as it is, a hub id through the hub's cache.

Only what a pipeline loads is fetched and hashed: model_index.json and the folders of its components. Pickles are
never fetched, since loading one runs code.
"""

import json
from pathlib import Path
from typing import Any, Final

from huggingface_hub import snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

from storage.errors import ModelMissing, ModelUnusable
from worker.models import SUFFIXES

INDEX: Final = "model_index.json"
IGNORED: Final = frozenset({"safety_checker", "feature_extractor", "image_encoder"})  # we never load these
_VARIANTS: Final = (".fp16.", ".non_ema.", ".bf16.")  # further copies of the same weights
_DEFAULT_SIDE: Final = 512  # pixels, where a config is silent
_FAMILIES: Final = frozenset({"StableDiffusionPipeline", "StableDiffusionXLPipeline"})


def find_folder(source: str) -> Path:
    """Where the files of a model lie on this host.

    Args:
        source: A folder, or owner/name or owner/name@revision of the Hugging Face hub.

    Raises:
        ModelMissing: It is not here, and cannot be fetched.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or source.startswith("."):
        raise ModelMissing(source, "no such folder on this worker's host; copy or mount it there under the same path")
    repository, _, revision = source.partition("@")
    try:
        found = Path(snapshot_download(repository, revision=revision or None, allow_patterns=[INDEX]))
        wanted = [f"{name}/*{suffix}" for name in components(found, source) for suffix in SUFFIXES]
        spared = [f"*{variant}*" for variant in _VARIANTS]
        wanted.append(INDEX)
        snapshot_download(repository, revision=revision or None, allow_patterns=wanted, ignore_patterns=spared)
    except RepositoryNotFoundError:
        reason = "the hub has no such model, or wants a token; check the id, or set HF_TOKEN"
        raise ModelMissing(source, reason) from None
    except (OSError, ValueError, EntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = "copy it to this host and name its folder, or let the host reach huggingface.co"
        raise ModelMissing(source, f"not a folder here, and the hub gave nothing ({reason}); {hint}") from None
    return found


def components(folder: Path, source: str) -> dict[str, str]:
    """The parts that a pipeline is loaded from, by name, with their class. Raises ModelUnusable."""
    index = read_json(folder / INDEX, source)
    parts = {name: entry for name, entry in index.items() if not name.startswith("_") and isinstance(entry, list)}
    return {name: str(entry[-1]) for name, entry in parts.items() if entry[-1] and name not in IGNORED}


def family(folder: Path, source: str) -> str:
    """The class of the pipeline. Raises ModelUnusable: it is none that this worker can drive."""
    name = str(read_json(folder / INDEX, source).get("_class_name"))
    if name not in _FAMILIES:
        raise ModelUnusable(source, f"{name} is not supported; this worker renders {', '.join(sorted(_FAMILIES))}")
    return name


def model_files(folder: Path, source: str) -> list[Path]:
    """The files that decide pixels.

    Raises:
        ModelUnusable: A part with weights has none as safetensors.
    """
    files = [folder / INDEX]
    for name in components(folder, source):
        part = [file for file in sorted((folder / name).glob("*")) if file.suffix in SUFFIXES and not _is_variant(file)]
        if (folder / name / "config.json").is_file() and not any(file.suffix == ".safetensors" for file in part):
            raise ModelUnusable(source, f"no .safetensors weights in {name}/; save it with safe_serialization=True")
        files += part
    return files


def native_size(folder: Path, source: str) -> tuple[int, int]:
    """Width and height in pixels that the model was made for."""
    sample = read_json(folder / "unet" / "config.json", source).get("sample_size")
    levels = read_json(folder / "vae" / "config.json", source).get("block_out_channels", [0] * 4)
    factor = 2 ** (len(levels) - 1)
    if isinstance(sample, list) and len(sample) == 2:
        return int(sample[1]) * factor, int(sample[0]) * factor
    side = int(sample) * factor if sample else _DEFAULT_SIDE
    return side, side


def read_json(file: Path, source: str) -> dict[str, Any]:
    """A JSON object of a model. Raises ModelUnusable: missing, or something else."""
    try:
        entry = json.loads(file.read_text())
    except FileNotFoundError:
        where = f"{file.parent.name}/{file.name}" if file.name != INDEX else INDEX
        reason = f"no {where}; a model is a folder as diffusers' save_pretrained writes it"
        raise ModelUnusable(source, reason) from None
    except (OSError, ValueError) as error:
        raise ModelUnusable(source, f"{file.name} cannot be read: {error}") from None
    if not isinstance(entry, dict):
        raise ModelUnusable(source, f"{file.name} is not a JSON object")
    return entry


def _is_variant(file: Path) -> bool:
    return any(variant in file.name for variant in _VARIANTS)
