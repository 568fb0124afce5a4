"""What the models of scorers are loaded with: local files, safetensors, float32 on the CPU, no code that came along."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor

from storage.errors import ModelUnusable
from storage.models.layout import Layout

_LOCAL: Final = {"local_files_only": True, "trust_remote_code": False}
_SHOWN: Final = 200  # characters of a library's complaint
_QUIET = threading.Lock()


def folder_of(layout: Layout) -> Path:
    """Where the files of a scorer lie."""
    return layout.files["config.json"].parent


def load_net(kind: Any, layout: Layout, *, source: str) -> Any:
    """Load a model of a transformers class, whole.

    Args:
        kind: The class.
        layout: Its files.
        source: How the user named it.

    Raises:
        ModelUnusable: It cannot be loaded, or lacks weights, which would be drawn at random.
    """
    # Eager attention: what the plan of a pipeline allows of other kernels holds for the whole process.
    options = {**_LOCAL, "use_safetensors": True, "attn_implementation": "eager", "dtype": torch.float32}
    with worded(source):
        net, report = kind.from_pretrained(
            folder_of(layout), variant=layout.variant, output_loading_info=True, **options
        )  # fmt: skip
    lacking = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lacking:
        raise ModelUnusable(source, f"its weights lack {lacking[0]}; take the whole model that config.json speaks of")
    return net.eval().requires_grad_(False)


def load_eye(layout: Layout, *, source: str) -> Any:
    """Load what brings pictures to the form that a model was trained on.

    Of two kinds that transformers has, the one without torchvision: they resize differently, and not every host has
    torchvision. Raises ModelUnusable.
    """
    with worded(source):
        kind: Any = transformers.AutoImageProcessor
        return kind.from_pretrained(folder_of(layout), backend="pil", **_LOCAL)


def load_tokenizer(layout: Layout, *, source: str) -> Any:
    """Load a tokenizer. Raises ModelUnusable."""
    with worded(source):
        return transformers.AutoTokenizer.from_pretrained(folder_of(layout), **_LOCAL)


@contextmanager
def worded(source: str) -> Iterator[None]:
    """Turn what transformers raises into a sentence, and keep what it says by the way to itself."""
    with _QUIET:
        transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except ModelUnusable:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelUnusable(source, f"transformers cannot load it: {lines[0][:_SHOWN]}") from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Score on this thread alone: the CPU belongs to the rendering, and sums of more threads differ in low bits.

    torch keeps the number for each thread; that of the device's thread stays what the plan says.
    """
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    with torch.inference_mode():
        yield


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length one, along the last axis."""
    found: Tensor = vectors / vectors.norm(dim=-1, keepdim=True)
    return found
