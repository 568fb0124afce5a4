"""The card's part on how the images were made: models, axes, sources, plans, libraries. Pure."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from dispatcher.export.card.facts import AxisFact, CodeFact, JobFacts, ModelFact
from dispatcher.export.card.licences import NOTES, UNKNOWN, models_of
from dispatcher.export.card.tallying import Tally
from dispatcher.export.card.text.escaping import cell, code, line, number, table
from storage.marks.record import software_version

_SHOWN: Final = 12  # values of a label


def made(jobs: Sequence[JobFacts], tally: Tally) -> str:
    """The section, with its headings."""
    models = models_of(jobs)
    parts = [_jobs(jobs), _models([model for model in models if not model.scores])]
    parts += [_scorers([model for model in models if model.scores]), _code({fact for job in jobs for fact in job.code})]
    parts += [_varied(job, alone=len(jobs) == 1) for job in jobs[:10]]
    parts += [_labels(tally), _sources(jobs), _numbers(tally)]
    return "## How it was made\n\n" + "\n\n".join(part for part in parts if part)


def _jobs(jobs: Sequence[JobFacts]) -> str:
    rows = [
        (cell(job.name), code(job.id), job.mode, code(job.spec_hash[:16]), number(job.images), number(job.done),
         number(job.rejected), number(job.failed))
        for job in jobs
    ]  # fmt: skip
    listed = table(("job", "id", "mode", "spec hash", "images", "done", "rejected", "failed"), rows, right=4)
    return f"By Seedfarm {software_version()}, from frozen jobs:\n\n{listed}"


def _models(models: Sequence[ModelFact]) -> str:
    listed = _listed(models)
    return f"### Models\n\n{listed}\n\nFull digests and what is left to check stand in [{NOTES}]({NOTES})."


def _scorers(models: Sequence[ModelFact]) -> str:
    said = "These measured the images and drew none; the scores are columns of the tables."
    return f"### Scorers\n\n{said}\n\n{_listed(models)}" if models else ""


def _listed(models: Sequence[ModelFact]) -> str:
    rows = [
        (cell(model.name), model.kind, cell(model.family) if model.family else UNKNOWN, _source(model),
         code(_short(model.digest)) if model.digest else UNKNOWN, cell(model.license) if model.license else UNKNOWN)
        for model in models
    ]  # fmt: skip
    return table(("model", "kind", "family", "source", "digest", "licence"), rows)


def _code(found: Collection[CodeFact]) -> str:
    """Code that is no part of the farm: without its digest nobody knows what was run."""
    if not found:
        return ""
    rows = [
        (cell(fact.name), fact.kind, cell(fact.distribution) if fact.distribution else UNKNOWN,
         code(fact.digest) if fact.digest else UNKNOWN)
        for fact in sorted(found, key=lambda fact: (fact.kind, fact.name, fact.digest or ""))
    ]  # fmt: skip
    said = "Code of the farm's owner had a hand in the images. A digest is of the module that was named."
    return f"### Code\n\n{said}\n\n{table(('name', 'kind', 'distribution', 'digest'), rows)}"


def _source(model: ModelFact) -> str:
    if model.source is None:
        return "files of the farm's owner"
    shown = _short(model.source)
    return f"[{cell(shown)}]({model.page})" if model.page else cell(shown)


def _short(text: str) -> str:
    """A commit or digest to its first 12 digits: enough to find it by."""
    head, mark, rest = text.rpartition("@" if "@" in text else ":")
    return f"{head}{mark}{rest[:12]}"


def _varied(job: JobFacts, *, alone: bool) -> str:
    of = "" if alone else f" of {cell(job.name)}"
    rows = [(code(", ".join(axis.keys)), number(axis.count), _examples(axis)) for axis in job.axes]
    parts = [f"### Axes{of}", table(("key", "values", "which"), rows) if rows else "None: every image is alike."]
    parts += [*_left_out(job)]
    if job.fixed:
        fixed = [(code(key), cell(value)) for key, value in sorted(job.fixed.items())]
        parts += ["The same for all images:", table(("key", "value"), fixed)]
    templates = {axis.template for axis in job.axes if axis.template}
    parts += [f"Prompts were made of the template {cell(template, limit=300)}." for template in sorted(templates)]
    return "\n\n".join(parts)


def _left_out(job: JobFacts) -> Iterator[str]:
    """Why there are fewer images than the axes have combinations."""
    if job.draw_seed is not None:
        drawn = f"{number(job.images)} of {number(job.combinations or 0)} combinations"
        yield f"Rendered was a random sample: {drawn}, drawn with seed {job.draw_seed}."
    elif job.combinations is not None:
        yield f"Rendered were {number(job.images)} of {number(job.combinations)} combinations, spread evenly."
    if job.excludes:
        yield "Some combinations are left out, as the job says."


def _examples(axis: AxisFact) -> str:
    if axis.withheld:
        return "withheld"
    quote = '"' if any("," in text for text in axis.examples) else ""
    shown = [f"{quote}{cell(text, limit=80)}{quote}" for text in axis.examples]
    if axis.count > len(shown) > 0:
        shown[-2:] = [f"{shown[-2]}, … {shown[-1]}"]
    derived = []
    if axis.derived_over is not None:
        seeds = "seeds " if shown else ""
        derived.append(f"{seeds}derived over {', '.join(map(code, axis.derived_over)) or 'nothing'}")
    return "; ".join([", ".join(shown), *derived] if shown else derived)


def _labels(tally: Tally) -> str:
    rows = []
    for name, values in sorted(tally.labels.items())[:50]:
        told = [f"{cell(value, limit=40)} {number(count)}" for value, count in values.most_common(_SHOWN)]
        more = f", … {number(len(values) - _SHOWN)} more" if len(values) > _SHOWN else ""
        rows.append((code(name), number(len(values)), ", ".join(told) + more))
    if not rows:
        return ""
    listed = table(("label", "values", "images of each"), rows)
    return f"### Labels\n\n{_LABELS}\n\n{listed}"


_LABELS: Final = (
    "Kept with each image, and no part of its recipe; those called like a name in a template are words of the prompt."
)


def _sources(jobs: Sequence[JobFacts]) -> str:
    found = sorted({(source.name, source.sha256) for job in jobs for source in job.sources})
    if not found:
        return ""
    rows = [(cell(name), code(sha256, limit=64)) for name, sha256 in found[:50]]
    return f"### Where the values came from\n\n{table(('file', 'SHA-256 when it was submitted'), rows)}"


def _numbers(tally: Tally) -> str:
    """Plans and versions: what decides the low bits."""
    rows = [(_plan(plan), number(count)) for plan, count in tally.plans.most_common(10)]
    versions = [(*(code(word) if word else UNKNOWN for word in words), number(count))
                for words, count in tally.versions.most_common(10)]  # fmt: skip
    parts = ["### Plans and libraries", _PLANS]
    parts += [table(("plan", "images"), rows, right=1)] if rows else []
    parts += [table(("torch", "diffusers", "transformers", "device", "images"), versions, right=1)] if versions else []
    return "\n\n".join(parts)


_PLANS: Final = (
    "The noise of each image is drawn on the CPU by a generator of its own from its seed. The plan decides the low "
    "bits: the same recipe under another plan, device or library gives a picture that is alike, not equal."
)


def _plan(text: str) -> str:
    body: Mapping[str, Any] = json.loads(text)
    return code(", ".join(_plan_words(body)), limit=300)


def _plan_words(body: Mapping[str, Any]) -> Iterator[str]:
    """What a plan says that is no mere default."""
    for key, value in body.items():
        if value is False or value in ("none", None):
            continue
        yield key if value is True else f"{key} {line(str(value))}"
