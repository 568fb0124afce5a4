"""What happens to a picture after the pipeline: how it is encoded, and what is measured of it. Pure."""

from collections.abc import Mapping
from typing import Any

from storage.spec.canonical import digest
from storage.spec.job import Spec
from storage.spec.quality import scorers_of
from storage.spec.recipe import model_key

_PLAIN = {"format": "png"}


def finish_of(spec: Spec) -> str:
    """A name for the output options and scorers of a job: images are linked between jobs that share it.

    What rejects is no part of it: verdicts are given anew in every job.

    Returns:
        A hash; "" for what a job gets that says nothing.
    """
    scorers = {name: _scorer(spec, name, entry) for name, entry in scorers_of(spec).items()}
    if not scorers and dict(spec.output) == _PLAIN:
        return ""
    return digest({"output": dict(spec.output), "scorers": scorers})


def _scorer(spec: Spec, name: str, entry: Mapping[str, Any]) -> dict[str, str | None]:
    """What gives a score, by where it lies and not by what the job calls it."""
    return {"source": spec.models[model_key(name, entry["model"])]["source"], "label": entry.get("label")}
