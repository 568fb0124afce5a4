"""What happens to a picture after the pipeline: how it is encoded, and what is measured of it. Pure."""

from storage.spec.canonical import digest
from storage.spec.job import Spec

_PLAIN = {"format": "png"}


def finish_of(spec: Spec) -> str:
    """A name for the output options and scorers of a job: images are linked between jobs that share it.

    Returns:
        A hash; "" for what a job gets that says nothing.
    """
    scorers = {name: rule["model"] for name, rule in (spec.quality or {}).items() if _is_scorer(rule)}
    if not scorers and dict(spec.output) == _PLAIN:
        return ""
    models = {name: dict(spec.models.get(name, {})) for name in scorers.values()}
    return digest({"output": dict(spec.output), "scorers": scorers, "models": models})


def _is_scorer(rule: object) -> bool:
    return isinstance(rule, dict) and "model" in rule
