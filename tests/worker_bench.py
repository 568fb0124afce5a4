"""One run of a chunk without processes or a broker, for tests of what runs store."""

from pathlib import Path
from typing import Any

from moody_store import MoodyStore
from storage.settings import Settings
from storage.spec import JobFile, Spec, canonical, freeze
from storage.spec_store import SpecStore
from storage.wire import keys
from storage.wire.messages import ChunkMessage, Manifest
from worker.child.level import Level
from worker.fake import FakeRenderer
from worker.renderer import Renderer
from worker.runs import Run, Tools
from worker.runs.inputs import Inputs
from worker.runs.storing.spool import Disk, Spool
from worker.runs.storing.uploads import Uploads
from worker.scoring import Scorers
from worker_desk import PLAN

SCALE = 0.02  # of every waiting time


class Bench:
    """A store, a spec, a fake model and the tools of a child."""

    def __init__(self, folder: Path, renderer: Renderer | None = None, *, spool_bytes: int = 10**9) -> None:
        """Have all of it in `folder`. Nothing sends what is spooled until `self.spool.start`."""
        self.folder = folder
        self.store = MoodyStore(folder / "store")
        self.renderer: Renderer = renderer or FakeRenderer(Settings(home=folder, resident_pipelines=2))
        self.spec: Spec
        self.level = Level()
        self.disk = Disk(folder / "spool", cap=spool_bytes)
        self.spool = Spool(self.disk, self.store, level=self.level, scale=SCALE)
        assert self.spool.resume()
        self.tools = Tools(
            renderer=self.renderer, scorers=Scorers(Settings(home=folder), self.store), store=self.store,
            specs=SpecStore(self.store), uploads=Uploads(2),
            level=self.level, inputs=Inputs(self.store, max_pixels=10**8), spool=self.spool,
            node="n-cpu", boot="b", time_scale=SCALE,
        )  # fmt: skip

    def freeze(self, **entries: Any) -> ChunkMessage:
        """A message for all images of a new job on the model `model`."""
        entries = {"model": "model", "prompt": "a fox", "steps": 2, "axes": {"seed": {"count": 6}}, **entries}
        self.spec = freeze(JobFile.model_validate(entries), base=self.folder, name="test", max_images=1000)
        self.store.put(keys.spec_key("job", self.spec.hash), canonical(self.spec.to_json()))
        models = {
            key: self.tools.resolve(model["source"], kind=model["kind"]) for key, model in self.spec.models.items()
        }
        return ChunkMessage(
            kind="render", job="job", chunk=1, attempt=1, spec_hash=self.spec.hash, ranges=[[0, 6, 1]], plan=PLAN,
            models=models,
        )  # fmt: skip

    def run(self, message: ChunkMessage) -> Manifest:
        key = Run(message, self.tools).execute()
        assert key is not None
        return Manifest.model_validate_json(self.store.get(key))
