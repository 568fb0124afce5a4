"""The scorers of a child: found by name, known by digest, loaded once, the last ones kept in main memory."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from storage.errors import ModelMissing
from storage.models.digests import Hashes
from storage.models.layout import Layout, inspect
from storage.models.local import LocalModels
from storage.spec.quality import SCORERS
from storage.wire.messages import ModelEntry
from worker.scoring.measuring import Scorer

if TYPE_CHECKING:
    from storage.blobs import BlobStore
    from storage.settings import Settings

KEPT: Final = 4  # scorers: two jobs that take turns


class Scorers:
    """Resolving and loading belong to the device's thread, as those of other models do; scoring does not."""

    def __init__(self, settings: "Settings", store: "BlobStore | None") -> None:
        """Look for models where other models are looked for. Frozen ones come from `store`."""
        self._hashes = Hashes(settings.home / "model-hashes.json")
        self._models = LocalModels(settings.home, store, hashes=self._hashes)
        self._found: dict[str, tuple[str, Layout]] = {}  # by digest: source, files
        self._loaded: OrderedDict[tuple[str, str, str | None], Scorer] = OrderedDict()

    @staticmethod
    def knows(kind: str) -> bool:
        """Whether models of that kind score pictures."""
        return kind in SCORERS

    def resolve(self, source: str, *, kind: str) -> ModelEntry:
        """Find a model of that kind and look at its files; from then on it is known by its digest.

        Raises:
            ModelMissing: It is not here, and cannot be fetched.
            ModelUnusable: It is something else.
        """
        layout = inspect(self._models.find(source, kind=kind), kind, source=source)
        digest = self._hashes.digest_of(layout.files)
        self._found[digest] = (source, layout)
        return ModelEntry(kind=kind, digest=digest, family=layout.family)

    def load(self, digest: str, *, kind: str, label: str | None = None) -> Scorer:
        """Make a scorer ready.

        Args:
            digest: Of a model that was resolved.
            kind: One of SCORERS.
            label: Of a safety scorer, see `SafetyScorer`.

        Raises:
            ModelMissing: Nobody resolved it here.
            ModelUnusable: It cannot be loaded.
        """
        name = (kind, digest, label)
        if name not in self._loaded:
            if digest not in self._found:
                raise ModelMissing(digest, "it was not resolved on this worker")
            source, layout = self._found[digest]
            self._loaded[name] = _load(kind, layout, source=source, label=label)
        self._loaded.move_to_end(name)
        while len(self._loaded) > KEPT:
            self._loaded.popitem(last=False)
        return self._loaded[name]


def _load(kind: str, layout: Layout, *, source: str, label: str | None) -> Scorer:
    """Only here is torch imported."""
    if kind == "clip":
        from worker.scoring.clip import ClipScorer

        return ClipScorer(layout, source=source)
    if kind == "aesthetic":
        from worker.scoring.aesthetic import AestheticScorer

        return AestheticScorer(layout, source=source)
    from worker.scoring.safety import SafetyScorer

    return SafetyScorer(layout, source=source, label=label)
