"""What happens to a picture after the pipeline: how it is encoded, and what is measured of it. Pure."""

from collections.abc import Mapping
from typing import Any

from storage.spec.canonical import digest
from storage.spec.job import Spec
from storage.spec.named_code import WATERMARK
from storage.spec.quality import scorers_of
from storage.spec.recipe import ModelFacts, model_key

_PLAIN = {"format": "png"}


def finish_of(spec: Spec, models: Mapping[str, ModelFacts]) -> str:
    """A name for the output options, watermark and scorers of a job: images are linked between jobs that share it.

    What rejects is no part of it: verdicts are given anew in every job. Scorers and the code of a watermark count by
    their digests, so that what was changed in place is another one.

    Args:
        spec: Of the job.
        models: What a worker found out about models, scorers and code of the job.

    Returns:
        A hash; "" for what a job gets that says nothing.
    """
    scorers = {name: _scorer(models, name, entry) for name, entry in scorers_of(spec).items()}
    if not scorers and dict(spec.output) == _PLAIN:
        return ""
    watermark = models.get(model_key(WATERMARK, spec.output.get("watermark", "")))  # unknown of older jobs
    code = {} if watermark is None else {"watermark": watermark.digest}
    return digest({"output": dict(spec.output), "scorers": scorers, **code})


def _scorer(models: Mapping[str, ModelFacts], name: str, entry: Mapping[str, Any]) -> dict[str, str | None]:
    """What gives a score, by its bytes and not by what the job calls it."""
    return {"model": models[model_key(name, entry["model"])].digest, "label": entry.get("label")}
