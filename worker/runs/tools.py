"""What a child keeps from one run to the next."""

from dataclasses import dataclass

from storage.blobs import BlobStore
from storage.spec_store import SpecStore
from worker.child.level import Level
from worker.renderer import Renderer
from worker.runs.inputs import Inputs
from worker.runs.storing.spool import Spool
from worker.runs.storing.uploads import Uploads


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """Everything that a run works with."""

    renderer: Renderer
    store: BlobStore
    specs: SpecStore
    uploads: Uploads
    inputs: Inputs
    spool: Spool
    level: Level
    node: str
    boot: str
    time_scale: float = 1.0  # of every waiting time
