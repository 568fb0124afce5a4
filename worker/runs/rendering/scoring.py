"""The scorers that a job wants, ready before its first picture: nothing is found out at image 40,000."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from storage.spec import Spec
from storage.spec.quality import scorers_of
from storage.spec.recipe import model_key
from storage.wire.messages import ModelEntry
from worker.runs.tools import Tools
from worker.scoring import Scorer


class Load(Protocol):
    """What carries out a load, with all that may be said of its time."""

    def __call__(self, work: Callable[[], Scorer], *, what: str) -> Scorer:
        """Do `work`, which loads `what`."""


def load_scorers(spec: Spec, models: Mapping[str, ModelEntry], tools: Tools, *, load: Load) -> dict[str, Scorer]:
    """Load what scores the pictures of a job; what is loaded already costs nothing.

    Args:
        spec: Of the job.
        models: What was found out about its models; they were resolved by this process.
        tools: Keeps scorers.
        load: What carries out a load.

    Returns:
        Scorers by name.

    Raises:
        ModelUnusable: One cannot be loaded.
    """
    ready = {}
    for name, entry in scorers_of(spec).items():
        key = model_key(name, entry["model"])
        work = partial(tools.scorers.load, models[key].digest, kind=name, label=entry.get("label"))
        ready[name] = load(work, what=key)
    return ready
