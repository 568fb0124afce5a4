"""How much people would like a picture, as a model learned it; the scale is the model's, often 1 to 10.

Two layouts: a classifier of transformers with one output, or a CLIP vision model whose projected embedding of length
one goes through a head of linear layers, as LAION's predictors do.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForImageClassification, CLIPVisionModelWithProjection

from storage.errors import ModelUnusable
from storage.models.anatomy.scorers import HEAD, HEAD_TENSOR
from storage.models.layout import Layout
from worker.scoring.loading import load_eye, load_net, one_thread, unit, worded

if TYPE_CHECKING:
    from PIL.Image import Image

_WEIGHTS: Final = re.compile(r".*\.safetensors")


class AestheticScorer:
    """See `worker.scoring.Scorer`; the prompt is not read."""

    def __init__(self, layout: Layout, *, source: str) -> None:
        """Load either layout. Raises ModelUnusable."""
        self._head: nn.Module | None = None
        self._eye = load_eye(layout, source=source)
        if layout.family.endswith("ForImageClassification"):
            self._net = load_net(AutoModelForImageClassification, layout, source=source)
            return
        self._net = load_net(CLIPVisionModelWithProjection, layout, source=source)
        width = int(self._net.config.projection_dim)
        self._head = _head(_tensors(layout, source), width=width, bent="ReLU" in layout.family, source=source)

    def score(self, picture: "Image", prompt: str) -> float:  # noqa: ARG002
        """The model's one output."""
        with one_thread():
            found: Any = self._net(**self._eye(images=picture, return_tensors="pt"))
            value: Tensor = found.logits if self._head is None else self._head(unit(found.image_embeds))
            return float(value[0, 0])


def _tensors(layout: Layout, source: str) -> dict[str, Tensor]:
    """The tensors of the head, by name: of a file of its own, or from among those of the model."""
    files = [layout.files[HEAD]] if HEAD in layout.files else _weights(layout)
    tensors = {}
    with worded(source):
        for file in files:
            with safe_open(file, framework="pt") as data:
                names = [name for name in data.keys() if HEAD_TENSOR.fullmatch(name)]  # noqa: SIM118
                tensors.update({name: data.get_tensor(name).to(torch.float32) for name in names})
    return tensors


def _weights(layout: Layout) -> list[Path]:
    return [file for name, file in layout.files.items() if _WEIGHTS.fullmatch(name)]


def _head(tensors: Mapping[str, Tensor], *, width: int, bent: bool, source: str) -> nn.Module:
    """The linear layers in the order of their numbers, down to one output; `bent`: with a ReLU between them."""
    names = sorted((name for name in tensors if name.endswith("weight")), key=_place)
    layers: list[nn.Module] = []
    for name in names:
        weight, bias = tensors[name], tensors.get(f"{name.removesuffix('weight')}bias")
        if weight.ndim != 2 or weight.shape[1] != width or (bias is not None and bias.shape != weight.shape[:1]):
            rule = f"{name} of its head has shape {list(weight.shape)}, and takes {width} numbers from the layer before"
            raise ModelUnusable(source, rule)
        width = weight.shape[0]
        layer = nn.Linear(weight.shape[1], width, bias=bias is not None)
        layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
        layers += [nn.ReLU(), layer] if bent and layers else [layer]
    if not layers or width != 1:
        raise ModelUnusable(source, f"its head ends in {width} outputs, and must end in one; see docs/quality.md")
    return nn.Sequential(*layers).eval().requires_grad_(False)


def _place(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))
