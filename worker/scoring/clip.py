"""How well a picture fits its prompt: the cosine of their CLIP embeddings (Hessel et al. 2021, unscaled)."""

import threading
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers import CLIPModel

from storage.models.layout import Layout
from worker.scoring.loading import load_eye, load_net, load_tokenizer, one_thread, unit

if TYPE_CHECKING:
    from PIL.Image import Image


class ClipScorer:
    """See `worker.scoring.Scorer`. A prompt longer than the model reads (77 tokens) is cut."""

    def __init__(self, layout: Layout, *, source: str) -> None:
        """Load a CLIPModel with its processor. Raises ModelUnusable."""
        self._net = load_net(CLIPModel, layout, source=source)
        self._eye = load_eye(layout, source=source)
        self._tokenizer = load_tokenizer(layout, source=source)
        self._longest = int(self._net.config.text_config.max_position_embeddings)
        self._reading = threading.Lock()  # a tokenizer that truncates is not for two threads at once

    def score(self, picture: "Image", prompt: str) -> float:
        """The cosine, in [-1, 1]."""
        with one_thread():
            seen = self._net.get_image_features(**self._eye(images=picture, return_tensors="pt"))
            read = self._net.get_text_features(**self._tokens(prompt))
            cosine: Tensor = (unit(seen.pooler_output) * unit(read.pooler_output)).sum()
            return float(cosine.clamp(-1, 1))

    def _tokens(self, prompt: str) -> Any:
        with self._reading:
            return self._tokenizer([prompt], truncation=True, max_length=self._longest, return_tensors="pt")
