"""What scores pictures: CLIP, classifiers, a CLIP vision model with a head; equal seeds give equal files."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from tiny.parts import SIDE, WIDTH, clip_config, drawn
from tiny.tokens import clip_tokenizer

LABELS = ("normal", "nsfw")


def build_tiny_clip(folder: Path, *, seed: int = 0) -> Path:
    """Save a CLIP with its processor."""
    config = CLIPConfig(
        text_config=clip_config().to_dict(), vision_config=_vision().to_dict(), projection_dim=WIDTH
    )  # fmt: skip
    with drawn("scorer.clip", seed=seed):
        net = CLIPModel(config).eval()
    _open(net)
    net.save_pretrained(folder)
    CLIPProcessor(_eye(), clip_tokenizer()).save_pretrained(folder)
    return folder


def build_tiny_safety(folder: Path, *, seed: int = 0, labels: tuple[str, ...] = LABELS) -> Path:
    """Save a classifier with one output a label."""
    return _save_classifier(folder, labels, seed=seed)


def build_tiny_aesthetic(folder: Path, *, seed: int = 0) -> Path:
    """Save a classifier with one output."""
    return _save_classifier(folder, ("score",), seed=seed)


def build_tiny_laion(folder: Path, *, seed: int = 0) -> Path:
    """Save a CLIP vision model with a head of two linear layers in a file of its own."""
    with drawn("scorer.laion", seed=seed):
        net = CLIPVisionModelWithProjection(_vision()).eval()
        head = nn.Sequential(nn.Linear(WIDTH, 4), nn.Dropout(0.1), nn.Linear(4, 1))
    _open(net)
    net.save_pretrained(folder)
    _eye().save_pretrained(folder)
    save_file({f"layers.{name}": value for name, value in head.state_dict().items()}, folder / "head.safetensors")
    return folder


def build_tiny_predictor(folder: Path, *, seed: int = 0) -> Path:
    """Save the same with the head among the model's own tensors, as predictors on the hub have it."""
    build_tiny_laion(folder, seed=seed)
    head = folder / "head.safetensors"
    weights = {**load_file(folder / "model.safetensors"), **load_file(head)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    head.unlink()
    config = folder / "config.json"
    config.write_text(config.read_text().replace("CLIPVisionModelWithProjection", "AestheticsPredictorV2Linear"))
    return folder


def _save_classifier(folder: Path, labels: tuple[str, ...], *, seed: int) -> Path:
    config = ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=SIDE,
        patch_size=8, id2label=dict(enumerate(labels)), label2id={name: place for place, name in enumerate(labels)},
        initializer_range=0.2,
    )  # fmt: skip
    with drawn("scorer.vit", seed=seed):
        net = ViTForImageClassification(config).eval()
    net.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def _vision() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE,
        patch_size=8, projection_dim=WIDTH, initializer_range=0.2,
    )  # fmt: skip


def _open(net: nn.Module) -> None:
    """Let pictures come through: an untrained patch embedding leaves hardly a trace of them."""
    with torch.no_grad():
        net.vision_model.embeddings.patch_embedding.weight.mul_(20)


def _eye() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
