"""Folders of transformers that hold a scorer of pictures: told from config.json, and of a head from its tensors."""

import re
from collections.abc import Mapping
from typing import Any, Final

from storage.errors import ModelUnusable
from storage.models.anatomy.trees import Tree

CLIP, AESTHETIC, SAFETY = "clip", "aesthetic", "safety"
HEAD: Final = "head.safetensors"  # linear layers behind a CLIP model, in a file of their own
HEAD_TENSOR: Final = re.compile(r"(?:(?:layers|mlp|head)\.\d+|predictor|head|linear)\.(?:weight|bias)|weight|bias")
_CLIP_MODEL: Final = "CLIPModel"
_CLASSIFIER: Final = "ForImageClassification"
_VISION: Final = "clip_vision_model"
_ADAPTED: Final = "adapter_config.json"  # transformers would take it for a LoRA, and load what it names from anywhere
_LAYOUTS: Final = {
    CLIP: "a CLIPModel",
    AESTHETIC: "an image classifier with one output, or a CLIP vision model with a head",
    SAFETY: "an image classifier",
}


def scorer_of(tree: Tree, config: Mapping[str, Any], *, wanted: str | None) -> tuple[str, str] | None:
    """Kind and class of a scorer; None: the folder holds something else.

    Args:
        tree: The folder.
        config: Its config.json.
        wanted: What the user takes it for; a folder may serve as more than one kind.

    Raises:
        ModelUnusable: A scorer is wanted, and this is none.
    """
    named = config.get("architectures")
    family = next((name for name in named if isinstance(name, str)), "") if isinstance(named, list) else ""
    kinds = _kinds(tree, config, family)
    if kinds and _ADAPTED in tree.names:
        raise ModelUnusable(tree.source, f"holds {_ADAPTED}; merge the adapter into the model and save it")
    if wanted in _LAYOUTS and wanted not in kinds:
        said = f"its config.json says {family}" if family else "no config.json there names a model"
        count = f" (outputs: {_outputs(config)})" if _CLASSIFIER in family else ""
        rule = f"{said}{count}, and {wanted} needs {_LAYOUTS[wanted]} as save_pretrained of transformers writes it"
        raise ModelUnusable(tree.source, rule)
    kind = wanted if wanted in kinds else next(iter(kinds), None)
    return None if kind is None else (kind, family or _VISION)


def _kinds(tree: Tree, config: Mapping[str, Any], family: str) -> list[str]:
    """What a folder can serve as, the likeliest first."""
    if family.endswith(_CLASSIFIER):
        return [AESTHETIC] if _outputs(config) == 1 else [SAFETY]
    has_head = HEAD in tree.names
    if family == _CLIP_MODEL:
        return [AESTHETIC, CLIP] if has_head else [CLIP]
    if config.get("model_type") == _VISION and (has_head or _holds_head(tree)):
        return [AESTHETIC]
    return []


def _outputs(config: Mapping[str, Any]) -> int:
    labels = config.get("id2label")
    return len(labels) if isinstance(labels, dict) else 2  # transformers left two unnamed ones out


def _holds_head(tree: Tree) -> bool:
    """Whether the weights of a vision model hold a head too, as the predictors that were made of LAION's do."""
    names = [name for name in tree.top(".safetensors") if name != HEAD]
    return any(HEAD_TENSOR.fullmatch(tensor) for name in names for tensor in tree.header(name).shapes)
