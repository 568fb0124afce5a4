"""How likely a picture is one that should not be there: the probability of one label of a classifier."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from torch import Tensor
from transformers import AutoModelForImageClassification

from storage.errors import ModelUnusable, nearest
from storage.models.layout import Layout
from worker.scoring.loading import load_eye, load_net, one_thread

if TYPE_CHECKING:
    from PIL.Image import Image

_UNSAFE: Final = re.compile(r"nsfw|unsafe|porn")
_DENIED: Final = re.compile(r"(?:^|[^a-z])no[nt]?[^a-z]*(?:nsfw|unsafe|porn)")
_EACH_BY_ITSELF: Final = "multi_label_classification"


class SafetyScorer:
    """See `worker.scoring.Scorer`; the prompt is not read."""

    def __init__(self, layout: Layout, *, source: str, label: str | None) -> None:
        """Load a classifier.

        Args:
            layout: Its files.
            source: How the user named it.
            label: Whose probability is the score; None: the first that says nsfw, unsafe or porn.

        Raises:
            ModelUnusable: It cannot be loaded, or has no such label.
        """
        self._net = load_net(AutoModelForImageClassification, layout, source=source)
        self._eye = load_eye(layout, source=source)
        self._place = place_of_label(self._net.config.id2label, label, source=source)
        self._alone = self._net.config.problem_type == _EACH_BY_ITSELF

    def score(self, picture: "Image", prompt: str) -> float:  # noqa: ARG002
        """The probability, in [0, 1]."""
        with one_thread():
            logits: Tensor = self._net(**self._eye(images=picture, return_tensors="pt")).logits[0]
            odds = logits.sigmoid() if self._alone else logits.softmax(dim=-1)
            return float(odds[self._place])


def place_of_label(labels: Mapping[int, str], wanted: str | None, *, source: str) -> int:
    """Which output of a classifier counts. Raises ModelUnusable with the labels that there are."""
    if wanted is not None:
        found = next((place for place in sorted(labels) if labels[place] == wanted), None)
        if found is None:
            raise ModelUnusable(source, f"has no label {wanted!r}; {nearest(wanted, labels.values())}")
        return found
    for place in sorted(labels):
        name = labels[place].lower()
        if _UNSAFE.search(name) and not _DENIED.search(name):
            return place
    known = ", ".join(labels[place] for place in sorted(labels)[:12])
    raise ModelUnusable(source, f"no label of it says nsfw, unsafe or porn; name one with label: {known}")
