"""What a child keeps from one run to the next."""

from dataclasses import dataclass

from storage.blobs import BlobStore
from storage.spec.named_code import WATERMARK
from storage.spec_store import SpecStore
from storage.wire.messages import ModelEntry
from worker.child.level import Level
from worker.named_code import code_entry
from worker.renderer import Renderer
from worker.runs.inputs import Inputs
from worker.runs.storing.spool import Spool
from worker.runs.storing.uploads import Uploads
from worker.scoring import Scorers


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """Everything that a run works with."""

    renderer: Renderer
    scorers: Scorers
    store: BlobStore
    specs: SpecStore
    uploads: Uploads
    inputs: Inputs
    spool: Spool
    level: Level
    node: str
    boot: str
    time_scale: float = 1.0  # of every waiting time
    watermarks: tuple[str, ...] = ()  # that jobs may use here

    def resolve(self, source: str, *, kind: str) -> ModelEntry:
        """Find a model or code, whatever uses it; see `Renderer.resolve`."""
        if kind == WATERMARK:
            return code_entry(WATERMARK, source, allowed=self.watermarks)
        knows = self.scorers if self.scorers.knows(kind) else self.renderer
        return knows.resolve(source, kind=kind)
